# What cannot work, or would be unsafe, is refused before anything is made.

mock_provider "google" {}

variables {
  project_id    = "acme-prewarm"
  region        = "europe-west1"
  source_object = { bucket = "builds", object = "ips-1.zip" }
  clusters      = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop" } }
}

run "project" {
  command = plan
  variables { project_id = "Acme" }
  expect_failures = [var.project_id]
}

run "a_zone_is_no_region" {
  command = plan
  variables { region = "europe-west1-b" }
  expect_failures = [var.region]
}

run "two_sources" {
  command = plan
  variables { source_archive = "topology.yaml" }
  expect_failures = [var.source_archive]
}

run "no_source" {
  command = plan
  variables { source_object = null }
  expect_failures = [var.source_archive]
}

run "cluster_by_its_short_name" {
  command = plan
  variables { clusters = { default = { gke = "shop" } } }
  expect_failures = [var.clusters]
}

run "no_cluster" {
  command = plan
  variables { clusters = {} }
  expect_failures = [var.clusters]
}

run "private_endpoint_without_vpc" {
  command = plan
  variables { clusters = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop", endpoint = "private" } } }
  expect_failures = [var.clusters]
}

run "everybody_with_iam_only" {
  command = plan
  variables { api_callers = ["allUsers"] }
  expect_failures = [var.api_callers]
}

run "keys_without_keys" {
  command = plan
  variables { access = { mode = "api-key" } }
  expect_failures = [var.access]
}

run "oidc_without_lists" {
  command = plan
  variables { access = { mode = "oidc", oidc_issuer = "https://issuer.example.com", oidc_audience = ["ips"] } }
  expect_failures = [var.access]
}

run "unknown_setting" {
  command = plan
  variables { settings = { IPS_AUTH = "none" } }
  expect_failures = [var.settings]
}

run "logs_that_metrics_could_not_count" {
  command = plan
  variables { settings = { LOG_LEVEL = "WARNING" } }
  expect_failures = [var.settings]
}

run "two_trackers" {
  command = plan
  variables { functions = { tracker = { max_instances = 2 } } }
  expect_failures = [var.functions]
}

run "more_at_least_than_at_most" {
  command = plan
  variables { functions = { release = { min_instances = 4 } } }
  expect_failures = [var.functions]
}

run "vpc_without_network" {
  command = plan
  variables { vpc = { egress = "VPC_EGRESS_ALL_TRAFFIC" } }
  expect_failures = [var.vpc]
}

run "unknown_topic" {
  command = plan
  variables { existing_topics = { grc = null } }
  expect_failures = [var.existing_topics]
}

run "own_topic_elsewhere" {
  command = plan
  variables { existing_topics = { ips-batches = "acme-images" } }
  expect_failures = [var.existing_topics]
}

run "rule_without_name" {
  command = plan
  variables { release_rules = [{ images = ["ghcr.io/acme/**"] }] }
  expect_failures = [var.release_rules]
}

run "backlog_younger_than_a_tracked_message" {
  command = plan
  variables { alerts = { backlog_age_seconds = 120 } }
  expect_failures = [var.alerts]
}

run "tracker_silent_for_less_than_it_holds_a_message" {
  command = plan
  variables { alerts = { tracker_silence_seconds = 300 } }
  expect_failures = [var.alerts]
}

run "no_failed_task_is_too_many" {
  command = plan
  variables { alerts = { task_failure_minimum = 0 } }
  expect_failures = [var.alerts]
}

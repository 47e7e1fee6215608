# What the variables change.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789" }
  }
}

variables {
  project_id    = "acme-prewarm"
  region        = "europe-west1"
  source_object = { bucket = "builds", object = "ips-1.zip" }
  clusters      = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop" } }
}

run "secrets_are_references" {
  variables {
    access          = { mode = "api-key" }
    api_keys        = { secret = "ips-api-keys", version = "3", project = "acme-secrets" }
    webhook_secrets = { secret = "ips-webhook-secrets" }
  }
  assert {
    condition = (
      google_cloudfunctions2_function.this["api"].service_config[0].secret_environment_variables[0].key == "IPS_API_KEYS"
      && google_cloudfunctions2_function.this["api"].service_config[0].secret_environment_variables[0].project_id == "acme-secrets"
      && google_cloudfunctions2_function.this["api"].service_config[0].secret_environment_variables[0].version == "3"
      && google_cloudfunctions2_function.this["notify"].service_config[0].secret_environment_variables[0].key == "IPS_WEBHOOK_SECRETS"
      && google_cloudfunctions2_function.this["notify"].service_config[0].secret_environment_variables[0].project_id == "acme-prewarm"
    )
    error_message = "A secret does not reach its function by reference."
  }
  assert {
    condition = alltrue([
      for name, each in google_cloudfunctions2_function.this :
      length(each.service_config[0].secret_environment_variables) == (contains(["api", "notify"], name) ? 1 : 0)
    ])
    error_message = "A function gets a secret that is not its own."
  }
  assert {
    condition     = toset(keys(google_secret_manager_secret_iam_member.function)) == toset(["api reads IPS_API_KEYS", "notify reads IPS_WEBHOOK_SECRETS"])
    error_message = "Somebody else may read a secret."
  }
}

run "vpc_reaches_those_that_call_clusters" {
  variables {
    clusters = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop", endpoint = "private" } }
    vpc      = { network = "shared", subnetwork = "serverless", tags = ["ips"] }
  }
  assert {
    condition = alltrue([
      for name, each in google_cloudfunctions2_function.this :
      length(each.service_config[0].direct_vpc_network_interface) == (name == "notify" ? 0 : 1)
    ])
    error_message = "Not exactly the functions that call clusters are in the network."
  }
  assert {
    condition = (
      google_cloudfunctions2_function.this["tracker"].service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY"
      && google_cloudfunctions2_function.this["tracker"].service_config[0].direct_vpc_network_interface[0].subnetwork == "serverless"
    )
    error_message = "The network is not the one asked for."
  }
}

run "sizes" {
  variables {
    functions = { api = { min_instances = 1 }, batch = { memory_mib = 1024, max_instances = 40 } }
  }
  assert {
    condition = (
      google_cloudfunctions2_function.this["api"].service_config[0].min_instance_count == 1
      && google_cloudfunctions2_function.this["batch"].service_config[0].available_memory == "1024Mi"
      && google_cloudfunctions2_function.this["batch"].service_config[0].max_instance_count == 40
    )
    error_message = "A size is not the one asked for."
  }
}

run "others_databases_clusters_and_topics_are_left_alone" {
  variables {
    firestore            = { create = false, database = "shared" }
    grant_cluster_access = false
    enable_apis          = false
    existing_topics      = { gcr = "acme-images", cloud-builds = null }
  }
  assert {
    condition = (
      length(google_firestore_database.this) == 0 && length(google_project_iam_custom_role.cluster) == 0
      && length(google_project_iam_member.cluster) == 0 && length(google_project_service.this) == 0
    )
    error_message = "Something is made that was said to exist."
  }
  assert {
    condition     = alltrue([for index in google_firestore_index.this : index.database == "shared"]) && strcontains(google_project_iam_member.store["api"].condition[0].expression, "projects/acme-prewarm/databases/shared\"")
    error_message = "Indexes or rights are for another database."
  }
  assert {
    condition = (
      google_pubsub_subscription.push["ips-gcr-push"].topic == "projects/acme-images/topics/gcr"
      && google_pubsub_subscription.push["ips-cloud-builds-push"].topic == "projects/acme-prewarm/topics/cloud-builds"
    )
    error_message = "An existing topic is looked for elsewhere."
  }
}

run "an_archive_is_uploaded_under_a_name_that_follows_from_it" {
  variables {
    source_object  = null
    source_archive = "topology.yaml"
  }
  assert {
    condition = (
      google_storage_bucket_object.source[0].name == "ips-${filesha256("topology.yaml")}.zip"
      && google_cloudfunctions2_function.this["api"].build_config[0].source[0].storage_source[0].object == google_storage_bucket_object.source[0].name
      && google_storage_bucket.source[0].public_access_prevention == "enforced"
    )
    error_message = "The functions are not built from the archive."
  }
}

run "release_rules_reach_release_only" {
  variables {
    release_rules   = [{ name = "shop", images = ["europe-west1-docker.pkg.dev/acme/shop/**"], batchSize = 20 }]
    deploy_projects = ["acme-prod"]
  }
  assert {
    condition     = jsondecode(google_cloudfunctions2_function.this["release"].service_config[0].environment_variables.IPS_RELEASE_RULES)[0].batchSize == 20 && !can(google_cloudfunctions2_function.this["api"].service_config[0].environment_variables.IPS_RELEASE_RULES)
    error_message = "The rules do not reach release alone."
  }
  assert {
    condition     = keys(google_project_iam_member.releases) == ["release in acme-prod"]
    error_message = "Somebody else may look up releases."
  }
}

run "bindings_name_those_that_call_clusters" {
  assert {
    condition = alltrue([
      for name, account in google_service_account.function :
      strcontains(output.kubernetes_bindings, account.email) == (name != "notify")
      && strcontains(output.kubernetes_bindings, account.unique_id) == (name != "notify")
    ])
    error_message = "The cluster's bindings are not for exactly the functions that call it."
  }
}

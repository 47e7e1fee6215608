# Two clusters, one of them private; API keys, signed webhooks, release rules, alerts by mail.

terraform {
  required_version = ">= 1.9.0"

  required_providers {
    google = { source = "hashicorp/google" }
  }

  backend "gcs" {
    prefix = "ips"
  }
}

locals {
  project = "acme-prewarm"
  region  = "europe-west1"
}

provider "google" {
  project = local.project
  region  = local.region
}

variable "source_object" {
  description = "The object that the pipeline uploaded, named after the commit."
  type        = string
}

resource "google_monitoring_notification_channel" "team" {
  project      = local.project
  display_name = "Release engineering"
  type         = "email"
  labels       = { email_address = "release-engineers@example.com" }
}

module "ips" {
  source = "../.."

  project_id = local.project
  region     = local.region
  labels     = { team = "release-engineering" }

  source_object = { bucket = "acme-builds", object = var.source_object }
  functions = {
    api     = { min_instances = 1 }
    tracker = { memory_mib = 1024 }
  }
  settings = {
    MAX_CONCURRENT_TASKS         = "20"
    IPS_ALLOWED_IMAGES           = "europe-west1-docker.pkg.dev/acme-images/**"
    IPS_WEBHOOK_ALLOWED_NETWORKS = "10.20.0.0/16"
  }
  firestore = { location = "eur3", point_in_time_recovery = true }

  clusters = {
    default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop" }
    batch   = { gke = "projects/acme-data/locations/europe-west1-b/clusters/batch", endpoint = "private" }
  }
  vpc = {
    network    = "projects/acme-net/global/networks/shared"
    subnetwork = "projects/acme-net/regions/europe-west1/subnetworks/serverless"
    functions  = ["api", "batch", "tracker", "release", "notify"]
  }

  api_callers     = ["allUsers"]
  access          = { mode = "api-key" }
  api_keys        = { secret = "ips-api-keys", version = "3" }
  webhook_secrets = { secret = "ips-webhook-secrets" }

  existing_topics = { gcr = "acme-images", cloud-builds = "acme-builds" }
  deploy_projects = ["acme-prod"]
  release_rules = [{
    name      = "shop"
    images    = ["europe-west1-docker.pkg.dev/acme-images/shop/**"]
    cluster   = "default"
    batchSize = 20
    priority  = 8
  }]

  notification_channels = [google_monitoring_notification_channel.team.id]
  alerts                = { task_failure_ratio = 0.1 }
}

output "api_url" {
  description = "Where the API answers."
  value       = module.ips.api_url
}

output "kubernetes_bindings" {
  description = "To be applied to both clusters."
  value       = module.ips.kubernetes_bindings
}

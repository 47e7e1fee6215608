# One cluster with an open DNS endpoint; callers are told apart by IAM alone.

terraform {
  required_providers {
    google = { source = "hashicorp/google" }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "cluster" {
  description = "projects/P/locations/L/clusters/C"
  type        = string
}

variable "archive" {
  description = "What `make package` made."
  type        = string
}

resource "google_service_account" "pipeline" {
  project      = var.project_id
  account_id   = "release-pipeline"
  display_name = "Prewarms what it is about to deploy"
}

module "ips" {
  source = "../.."

  project_id     = var.project_id
  region         = var.region
  source_archive = var.archive
  clusters       = { default = { gke = var.cluster } }
  api_callers    = ["group:release-engineers@example.com", google_service_account.pipeline.member]
}

output "api_url" {
  description = "Where the API answers."
  value       = module.ips.api_url
}

output "kubernetes_bindings" {
  description = "To be applied to the cluster."
  value       = module.ips.kubernetes_bindings
}

# IPS on Google Cloud. What carries work between the functions stands in topology.yaml and what each function may do in
# functions.yaml; the local stack and the tests read the same files. docs/deployment.md says how to use this module.

locals {
  topology   = yamldecode(file("${path.module}/topology.yaml"))
  needs      = yamldecode(file("${path.module}/functions.yaml"))
  indexes    = jsondecode(file("${path.module}/firestore.indexes.json"))
  region     = var.region
  project    = var.project_id
  names      = { for name in keys(local.topology.functions) : name => "${var.name_prefix}${name}" }
  with_cloud = [for name, needs in local.needs.functions : name if length(needs.clusters) > 0]

  labels = merge({ app = "ips" }, var.labels)
}

data "google_project" "this" {
  project_id = var.project_id
}

locals {
  apis = [
    "artifactregistry", "cloudbuild", "cloudfunctions", "cloudscheduler", "container", "firestore", "iam", "logging",
    "monitoring", "pubsub", "run", "secretmanager", "storage",
  ]
}

resource "google_project_service" "this" {
  for_each = toset(var.enable_apis ? local.apis : [])

  project = local.project
  service = "${each.value}.googleapis.com"
  # Others in the project may need it, whatever becomes of IPS.
  disable_on_destroy = false
}

locals {
  uploads = var.source_archive != null
  source  = local.uploads ? { bucket = google_storage_bucket.source[0].name, object = google_storage_bucket_object.source[0].name } : var.source_object
}

resource "google_storage_bucket" "source" {
  count = local.uploads ? 1 : 0

  project                     = local.project
  name                        = "${local.project}-${var.name_prefix}source"
  location                    = local.region
  labels                      = local.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_object" "source" {
  count = local.uploads ? 1 : 0

  bucket = google_storage_bucket.source[0].name
  # Named by its content: other content is another object, and that is what has the functions built again.
  name   = "ips-${filesha256(var.source_archive)}.zip"
  source = var.source_archive
}

# Builds as an account of its own: the default one of Compute Engine may have every right, or none.
resource "google_service_account" "build" {
  project      = local.project
  account_id   = "${var.name_prefix}build"
  display_name = "IPS: builds the functions"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"])

  project = local.project
  role    = each.value
  member  = google_service_account.build.member
}

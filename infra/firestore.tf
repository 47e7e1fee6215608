resource "google_firestore_database" "this" {
  count = var.firestore.create ? 1 : 0

  project     = local.project
  name        = var.firestore.database
  location_id = coalesce(var.firestore.location, local.region)
  type        = "FIRESTORE_NATIVE"
  # Every write of IPS names the version it was decided on, so nobody needs locks.
  concurrency_mode                  = "OPTIMISTIC"
  point_in_time_recovery_enablement = var.firestore.point_in_time_recovery ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"
  delete_protection_state           = var.firestore.delete_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = "DELETE"

  depends_on = [google_project_service.this]
}

locals {
  database = var.firestore.create ? google_firestore_database.this[0].name : var.firestore.database

  composite_indexes = {
    for index in local.indexes.indexes :
    "${index.collectionGroup}: ${join(", ", [for field in index.fields : "${field.fieldPath} ${lower(try(field.order, field.arrayConfig))}"])}" => index
  }
  field_overrides = { for field in local.indexes.fieldOverrides : "${field.collectionGroup}.${field.fieldPath}" => field }
}

resource "google_firestore_index" "this" {
  for_each = local.composite_indexes

  project     = local.project
  database    = local.database
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path   = fields.value.fieldPath
      order        = try(fields.value.order, null)
      array_config = try(fields.value.arrayConfig, null)
    }
  }
}

resource "google_firestore_field" "this" {
  for_each = local.field_overrides

  project    = local.project
  database   = local.database
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []
    content {}
  }

  # Without an index inside, the field has none: nobody searches by it, and one that grows with time is a hot spot.
  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes
      content {
        query_scope  = try(indexes.value.queryScope, "COLLECTION")
        order        = try(indexes.value.order, null)
        array_config = try(indexes.value.arrayConfig, null)
      }
    }
  }
}

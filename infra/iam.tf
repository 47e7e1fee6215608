# The functions' rights: functions.yaml, line by line.

locals {
  publishes = merge([
    for name, function in local.functions : {
      for topic in function.needs.publishes : "${name} to ${topic}" => { function = name, topic = topic }
    }
  ]...)

  reads_secrets = merge([
    for name, function in local.functions : {
      for setting in function.needs.secrets : "${name} reads ${setting}" => { function = name, setting = setting }
      if contains(keys(local.secrets), setting)
    }
  ]...)
}

resource "google_project_iam_member" "store" {
  for_each = { for name, function in local.functions : name => function if function.needs.store }

  project = local.project
  role    = "roles/datastore.user"
  member  = google_service_account.function[each.key].member

  # The role can only be given for a project; the condition leaves one database of it.
  condition {
    title      = "ips-database"
    expression = "resource.name == \"projects/${local.project}/databases/${var.firestore.database}\""
  }
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.publishes

  project = local.project
  topic   = local.topic_ids[each.value.topic]
  role    = "roles/pubsub.publisher"
  member  = google_service_account.function[each.value.function].member
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each = local.reads_secrets

  project   = local.secrets[each.value.setting].project
  secret_id = local.secrets[each.value.setting].secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}

resource "google_project_iam_member" "releases" {
  for_each = {
    for pair in setproduct([for name, function in local.functions : name if function.needs.releases], var.deploy_projects) :
    "${pair[0]} in ${pair[1]}" => { function = pair[0], project = pair[1] }
  }

  project = each.value.project
  role    = "roles/clouddeploy.viewer"
  member  = google_service_account.function[each.value.function].member
}

# Who may call. A function is a Cloud Run service, and it is there that the right counts.

resource "google_cloud_run_v2_service_iam_member" "push" {
  for_each = { for name, function in local.functions : name => function if function.pushed }

  project  = local.project
  location = local.region
  name     = google_cloudfunctions2_function.this[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  # By their place, because an account that is made in the same run has no name yet.
  for_each = merge([
    for name, function in local.functions : {
      for place, member in var.api_callers : "${name} ${place}" => { function = name, member = member }
    } if !function.pushed
  ]...)

  project  = local.project
  location = local.region
  name     = google_cloudfunctions2_function.this[each.value.function].name
  role     = "roles/run.invoker"
  member   = each.value.member
}

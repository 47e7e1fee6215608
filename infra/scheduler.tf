resource "google_cloud_scheduler_job" "this" {
  for_each = { for schedule in local.topology.schedules : schedule.name => schedule }

  project   = local.project
  region    = local.region
  name      = each.key
  schedule  = each.value.schedule
  time_zone = "Etc/UTC"

  pubsub_target {
    topic_name = local.topic_ids[each.value.topic]
    data       = base64encode(jsonencode(each.value.message))
  }

  depends_on = [google_project_service.this]
}

# Alerts and the dashboard look at what is there.

mock_provider "google" {}

variables {
  project_id            = "acme-prewarm"
  region                = "europe-west1"
  source_object         = { bucket = "builds", object = "ips-1.zip" }
  clusters              = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop" } }
  notification_channels = ["projects/acme-prewarm/notificationChannels/1"]
}

run "alerts" {
  assert {
    condition = alltrue([
      for policy in [
        google_monitoring_alert_policy.task_failures, google_monitoring_alert_policy.api_errors, google_monitoring_alert_policy.dead_letters,
        google_monitoring_alert_policy.tracker_silence, google_monitoring_alert_policy.backlog,
      ] : policy.notification_channels == tolist(["projects/acme-prewarm/notificationChannels/1"]) && length(policy.documentation[0].content) > 0
    ])
    error_message = "An alert reaches nobody, or does not say what to do."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      strcontains(google_monitoring_alert_policy.dead_letters.conditions[0].condition_threshold[0].filter, "\"${each.name}\"") == can(each.deadLetter)
      && strcontains(google_monitoring_alert_policy.backlog.conditions[0].condition_threshold[0].filter, "\"${each.name}\"") == (each.function != "notify")
    ])
    error_message = "A subscription is not watched."
  }
  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.tracker_silence.conditions[0].condition_absent[0].filter, "\"ips-tracker\"")
      && strcontains(google_monitoring_alert_policy.api_errors.conditions[0].condition_threshold[0].filter, "\"ips-api\"")
      && strcontains(google_monitoring_alert_policy.task_failures.conditions[0].condition_prometheus_query_language[0].query, "user/ips-tasks_ended\"")
    )
    error_message = "An alert looks at another function or metric."
  }
}

run "dashboard" {
  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles) == 13
    error_message = "A chart is missing."
  }
  assert {
    condition = alltrue([
      for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles :
      try(length(tile.widget.xyChart.dataSets) > 0, length(tile.widget.logsPanel.filter) > 0) && tile.xPos + tile.width <= 48
    ])
    error_message = "A chart is empty or outside of the dashboard."
  }
}

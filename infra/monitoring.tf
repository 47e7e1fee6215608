# Log-based metrics from the constant sentences that the functions log, and alerts on these and on what Cloud Run and
# Pub/Sub measure themselves. Entries of level INFO are counted, so LOG_LEVEL may not hide them (see variables.tf).

locals {
  services      = values(local.names)
  from_services = "resource.type=\"cloud_run_revision\" resource.labels.service_name=(${join(" OR ", formatlist("\"%s\"", local.services))})"

  log_metrics = {
    tasks_ended = {
      filter      = "jsonPayload.message=\"task ended\""
      description = "Tasks that ended, by how: completed, failed or cancelled."
      labels      = { status = "EXTRACT(jsonPayload.status)" }
    }
    webhooks_undelivered = {
      filter      = "jsonPayload.message=(\"webhook was never delivered\" OR \"webhook not delivered, the receiver is gone for good\")"
      description = "Webhooks that were given up."
      labels      = {}
    }
    errors = {
      filter      = "severity>=ERROR"
      description = "Log entries of severity ERROR and above."
      labels      = {}
    }
  }

  # Set by ips_common/logs.py on every entry, or on every one that is about a cluster.
  log_labels = {
    function = "EXTRACT(labels.function)"
    cluster  = "EXTRACT(labels.cluster)"
  }
}

resource "google_logging_metric" "this" {
  for_each = local.log_metrics

  project     = local.project
  name        = "${var.name_prefix}${each.key}"
  description = each.value.description
  filter      = "${local.from_services} ${each.value.filter}"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = merge(local.log_labels, each.value.labels)
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  label_extractors = merge(local.log_labels, each.value.labels)

  depends_on = [google_project_service.this]
}

locals {
  # What selects them in PromQL. A metric may be of several kinds of resources, so the one meant is named.
  log_series = {
    for name, metric in google_logging_metric.this :
    name => "\"__name__\"=\"logging.googleapis.com/user/${metric.name}\",\"monitored_resource\"=\"cloud_run_revision\""
  }
  tasks_failed  = "sum(increase({${local.log_series.tasks_ended},\"status\"=\"failed\"}[1h]))"
  tasks_decided = "sum(increase({${local.log_series.tasks_ended},\"status\"=~\"completed|failed\"}[1h]))"

  # A receiver may be away for hours by design, so its messages may be old.
  patient_subscriptions = [for name, each in local.subscriptions : name if each.function == "notify"]
  prompt_subscriptions  = setsubtract(keys(local.subscriptions), local.patient_subscriptions)

  alerts = {
    task-failures = {
      title = "tasks fail"
      help  = "Of the tasks that ended within the last hour, more than ${var.alerts.task_failure_ratio * 100}% missed their threshold. What went wrong on which node: GET /api/v1/tasks?status=failed, then /nodes?status=failed."
    }
    api-errors = {
      title = "the API fails"
      help  = "More than ${var.alerts.api_error_ratio * 100}% of the API's answers are server errors. GET /ready says which part cannot be reached; the log has each failure."
    }
    dead-letters = {
      title = "a message went to the dead letters"
      help  = "A message could not be handled in all its deliveries. Batches and webhooks say so on their task; what is wrong with a release event shows a pull from ${join(" or ", [for topic in local.dead_letter_topics : "${topic}-kept"])}."
    }
    tracker-silence = {
      title = "the tracker is silent"
      help  = "The tracker has acknowledged nothing for ${var.alerts.tracker_silence_seconds} s, though the scheduler wakes it each minute: running tasks do not move on. Look at the scheduler job, the push subscription and the tracker's log, in this order."
    }
    backlog = {
      title = "messages wait too long"
      help  = "A message has waited for more than ${var.alerts.backlog_age_seconds} s. The function that its subscription pushes to fails or is too slow; its log says why it refuses messages."
    }
  }
}

resource "google_monitoring_alert_policy" "task_failures" {
  project               = local.project
  display_name          = "IPS: ${local.alerts.task-failures.title}"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "share of failed tasks, at least ${var.alerts.task_failure_minimum} of them"
    condition_prometheus_query_language {
      # Who cancels a task has decided by themselves: cancelled ones say nothing of IPS.
      query = join(" ", [
        "${local.tasks_failed} / ${local.tasks_decided} > ${var.alerts.task_failure_ratio}",
        "and ${local.tasks_failed} >= ${var.alerts.task_failure_minimum}",
      ])
      duration            = "0s"
      evaluation_interval = "60s"
      # The series begin with the first task that ends.
      disable_metric_validation = true
    }
  }

  documentation {
    content   = local.alerts.task-failures.help
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "api_errors" {
  project               = local.project
  display_name          = "IPS: ${local.alerts.api-errors.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "share of 5xx answers"
    condition_threshold {
      filter             = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.names.api}\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      denominator_filter = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.names.api}\" AND metric.type = \"run.googleapis.com/request_count\""
      comparison         = "COMPARISON_GT"
      threshold_value    = var.alerts.api_error_ratio
      duration           = "300s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = local.alerts.api-errors.help
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  project               = local.project
  display_name          = "IPS: ${local.alerts.dead-letters.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "dead letters"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = one_of(${join(", ", formatlist("\"%s\"", keys(local.dead_lettered)))}) AND metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.subscription_id"]
      }
    }
  }

  documentation {
    content   = local.alerts.dead-letters.help
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "tracker_silence" {
  project               = local.project
  display_name          = "IPS: ${local.alerts.tracker-silence.title}"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "nothing acknowledged"
    condition_absent {
      filter   = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.names.tracker}\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"2xx\""
      duration = "${var.alerts.tracker_silence_seconds}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = local.alerts.tracker-silence.help
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "backlog" {
  project               = local.project
  display_name          = "IPS: ${local.alerts.backlog.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "age of the oldest message"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = one_of(${join(", ", formatlist("\"%s\"", local.prompt_subscriptions))}) AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.alerts.backlog_age_seconds
      duration        = "60s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_MAX"
        cross_series_reducer = "REDUCE_MAX"
        group_by_fields      = ["resource.label.subscription_id"]
      }
    }
  }

  documentation {
    content   = local.alerts.backlog.help
    mime_type = "text/markdown"
  }
}

locals {
  # Charts of the dashboard, in reading order: what is asked of IPS, then whether its parts keep up.
  charts = [
    { title = "Tasks ended, per hour, by how", promql = [
      { label = null, query = "sum by (status) (increase({${local.log_series.tasks_ended}}[1h]))" },
    ] },
    { title = "API: answers by class, per second", group = "metric.label.response_code_class", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM",
    filter = "${local.of_service.api} metric.type=\"run.googleapis.com/request_count\"" },
    { title = "API: seconds to answer, 95th percentile (long polls included)", group = null, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_95",
    filter = "${local.of_service.api} metric.type=\"run.googleapis.com/request_latencies\"" },
    { title = "Age of the oldest message, by subscription", group = "resource.label.subscription_id", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX",
    filter = "${local.of_subscriptions} metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"" },
    { title = "Messages waiting, by subscription", group = "resource.label.subscription_id", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX",
    filter = "${local.of_subscriptions} metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\"" },
    { title = "Pushes by answer, per second", group = "metric.label.response_class", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM",
    filter = "${local.of_subscriptions} metric.type=\"pubsub.googleapis.com/subscription/push_request_count\"" },
    { title = "Dead letters", group = "resource.label.subscription_id", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM",
    filter = "${local.of_subscriptions} metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\"" },
    { title = "Errors logged, by function", promql = [
      { label = null, query = "sum by (function) (increase({${local.log_series.errors}}[10m]))" },
    ] },
    { title = "Instances, by function", group = "resource.label.service_name", aligner = "ALIGN_MAX", reducer = "REDUCE_SUM",
    filter = "${local.of_services} metric.type=\"run.googleapis.com/container/instance_count\"" },
    { title = "Memory in use, 99th percentile, by function", group = "resource.label.service_name", aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_99",
    filter = "${local.of_services} metric.type=\"run.googleapis.com/container/memory/utilizations\"" },
    { title = "Start-up, seconds, 95th percentile, by function", group = "resource.label.service_name", aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_95",
    filter = "${local.of_services} metric.type=\"run.googleapis.com/container/startup_latencies\"" },
    { title = "Webhooks given up, per hour", promql = [
      { label = null, query = "sum(increase({${local.log_series.webhooks_undelivered}}[1h]))" },
    ] },
  ]

  of_service       = { for name, service in local.names : name => "resource.type=\"cloud_run_revision\" resource.labels.service_name=\"${service}\"" }
  of_services      = "resource.type=\"cloud_run_revision\" resource.labels.service_name=one_of(${join(",", formatlist("\"%s\"", local.services))})"
  of_subscriptions = "resource.type=\"pubsub_subscription\" resource.labels.subscription_id=one_of(${join(",", formatlist("\"%s\"", keys(local.subscriptions)))})"

  data_sets = [
    for chart in local.charts : try(
      [for each in chart.promql : merge(
        { plotType = "LINE", targetAxis = "Y1", timeSeriesQuery = { prometheusQuery = each.query } },
        each.label == null ? {} : { legendTemplate = each.label },
      )],
      [{
        plotType   = "LINE"
        targetAxis = "Y1"
        timeSeriesQuery = { timeSeriesFilter = {
          filter = chart.filter
          aggregation = {
            alignmentPeriod    = "60s"
            perSeriesAligner   = chart.aligner
            crossSeriesReducer = chart.reducer
            groupByFields      = compact([chart.group])
          }
        } }
      }],
    )
  ]
}

resource "google_monitoring_dashboard" "this" {
  project = local.project

  dashboard_json = jsonencode({
    displayName = "IPS"
    mosaicLayout = {
      columns = 48
      tiles = concat(
        [for number, chart in local.charts : {
          xPos   = 24 * (number % 2)
          yPos   = 16 * floor(number / 2)
          width  = 24
          height = 16
          widget = {
            title   = chart.title
            xyChart = { dataSets = local.data_sets[number], yAxis = { scale = "LINEAR" } }
          }
        }],
        [{
          xPos   = 0
          yPos   = 16 * ceil(length(local.charts) / 2)
          width  = 48
          height = 20
          widget = {
            title     = "Warnings and errors"
            logsPanel = { filter = "${local.from_services} severity>=WARNING", resourceNames = ["projects/${local.project}"] }
          }
        }],
      )
    }
  })
}

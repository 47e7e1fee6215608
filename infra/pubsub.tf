locals {
  topics        = toset([for topic in local.topology.topics : topic.name])
  subscriptions = { for each in local.topology.subscriptions : each.name => each }
  dead_lettered = { for name, each in local.subscriptions : name => each if try(each.deadLetter, null) != null }
  # Topics of Google's services exist before us, or in another project.
  topic_ids = {
    for name in local.topics : name => (
      contains(keys(var.existing_topics), name)
      ? "projects/${coalesce(var.existing_topics[name], local.project)}/topics/${name}"
      : google_pubsub_topic.this[name].id
    )
  }
  dead_letter_topics = toset([for each in values(local.dead_lettered) : each.deadLetter.topic])
  own_topics         = setunion(local.dead_letter_topics, flatten([for each in values(local.needs.functions) : each.publishes]))
  # The agent that pushes, and that moves messages to dead-letter topics.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "this" {
  for_each = setsubtract(local.topics, keys(var.existing_topics))

  project = local.project
  name    = each.value
  labels  = local.labels

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.subscriptions

  project                    = local.project
  name                       = each.key
  topic                      = local.topic_ids[each.value.topic]
  labels                     = local.labels
  ack_deadline_seconds       = each.value.ackDeadlineSeconds
  message_retention_duration = "${each.value.retentionSeconds}s"

  # Never, however long nothing happens.
  expiration_policy {
    ttl = ""
  }

  push_config {
    # In this path functions-framework and the functions find the topic.
    push_endpoint = "${local.uris[each.value.function]}/${local.topic_paths[each.value.topic]}"

    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = local.uris[each.value.function]
    }
  }

  retry_policy {
    minimum_backoff = "${each.value.retry.minimumBackoffSeconds}s"
    maximum_backoff = "${each.value.retry.maximumBackoffSeconds}s"
  }

  dynamic "dead_letter_policy" {
    for_each = try([each.value.deadLetter], [])
    content {
      dead_letter_topic     = local.topic_ids[dead_letter_policy.value.topic]
      max_delivery_attempts = dead_letter_policy.value.maxDeliveryAttempts
    }
  }

  # A push that comes before the right to push is refused, and the first ones would back off.
  depends_on = [google_cloud_run_v2_service_iam_member.push]
}

locals {
  # Known before anything exists, so that a plan shows where each subscription pushes.
  topic_paths = { for name in local.topics : name => "projects/${local.project}/topics/${name}" }
}

# Dead letters of others' messages are of no use to the tracker: kept here for somebody to look at.
resource "google_pubsub_subscription" "kept" {
  for_each = local.dead_letter_topics

  project                    = local.project
  name                       = "${each.value}-kept"
  topic                      = local.topic_ids[each.value]
  labels                     = local.labels
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_service_account" "push" {
  project      = local.project
  account_id   = "${var.name_prefix}push"
  display_name = "IPS: pushes messages to the functions"

  depends_on = [google_project_service.this]
}

# Projects in which Pub/Sub is older than April 2021 need this for OIDC tokens; elsewhere the agent has it anyway.
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = local.dead_letter_topics

  project = local.project
  topic   = local.topic_ids[each.value]
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = local.dead_lettered

  project      = local.project
  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

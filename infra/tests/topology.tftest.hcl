# Everything topology.yaml and firestore.indexes.json say is made, as they say it, and nothing else. The provider is a
# mock: values that Google would decide (addresses, numbers) are made up, a different one for each resource.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789" }
  }
}

variables {
  project_id    = "acme-prewarm"
  region        = "europe-west1"
  source_object = { bucket = "builds", object = "ips-1.zip" }
  clusters      = { default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop" } }
  api_callers   = ["group:release@example.com"]
}

run "applied" {
  assert {
    condition     = toset(keys(google_pubsub_subscription.push)) == toset([for each in yamldecode(file("topology.yaml")).subscriptions : each.name])
    error_message = "The subscriptions are not those of the topology."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      google_pubsub_subscription.push[each.name].push_config[0].push_endpoint
      == "${google_cloudfunctions2_function.this[each.function].service_config[0].uri}/projects/acme-prewarm/topics/${each.topic}"
    ])
    error_message = "A subscription does not push to its function under its topic's path."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      google_pubsub_subscription.push[each.name].push_config[0].oidc_token[0].service_account_email == google_service_account.push.email
      && google_pubsub_subscription.push[each.name].push_config[0].oidc_token[0].audience == google_cloudfunctions2_function.this[each.function].service_config[0].uri
    ])
    error_message = "A subscription pushes without a token that its function accepts."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      google_pubsub_subscription.push[each.name].ack_deadline_seconds == each.ackDeadlineSeconds
      && google_pubsub_subscription.push[each.name].message_retention_duration == "${each.retentionSeconds}s"
      && google_pubsub_subscription.push[each.name].retry_policy[0].minimum_backoff == "${each.retry.minimumBackoffSeconds}s"
      && google_pubsub_subscription.push[each.name].retry_policy[0].maximum_backoff == "${each.retry.maximumBackoffSeconds}s"
      && google_pubsub_subscription.push[each.name].expiration_policy[0].ttl == ""
    ])
    error_message = "A subscription's times are not those of the topology, or it expires."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      length(google_pubsub_subscription.push[each.name].dead_letter_policy) == (can(each.deadLetter) ? 1 : 0)
    ])
    error_message = "Dead letters are not kept exactly where the topology says."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).subscriptions :
      google_pubsub_subscription.push[each.name].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.this[each.deadLetter.topic].id
      && google_pubsub_subscription.push[each.name].dead_letter_policy[0].max_delivery_attempts == each.deadLetter.maxDeliveryAttempts
      && google_pubsub_subscription_iam_member.dead_letters[each.name].role == "roles/pubsub.subscriber"
      && google_pubsub_subscription_iam_member.dead_letters[each.name].member == "serviceAccount:service-123456789@gcp-sa-pubsub.iam.gserviceaccount.com"
      && google_pubsub_topic_iam_member.dead_letters[each.deadLetter.topic].member == "serviceAccount:service-123456789@gcp-sa-pubsub.iam.gserviceaccount.com"
      if can(each.deadLetter)
    ])
    error_message = "Pub/Sub's agent may not move dead letters, or moves them elsewhere."
  }
  assert {
    condition     = toset(concat(keys(google_pubsub_topic.this), ["gcr"])) == toset([for each in yamldecode(file("topology.yaml")).topics : each.name])
    error_message = "The topics are not those of the topology, less gcr, which Artifact Registry makes."
  }
  assert {
    condition     = google_pubsub_subscription.push["ips-gcr-push"].topic == "projects/acme-prewarm/topics/gcr"
    error_message = "A topic that exists is not subscribed to by its name."
  }
  assert {
    condition = alltrue([
      for each in yamldecode(file("topology.yaml")).schedules :
      google_cloud_scheduler_job.this[each.name].schedule == each.schedule
      && google_cloud_scheduler_job.this[each.name].time_zone == "Etc/UTC"
      && jsondecode(base64decode(google_cloud_scheduler_job.this[each.name].pubsub_target[0].data)) == each.message
      && google_cloud_scheduler_job.this[each.name].pubsub_target[0].topic_name == google_pubsub_topic.this[each.topic].id
    ])
    error_message = "A schedule does not publish its message to its topic."
  }
}

run "functions" {
  assert {
    condition     = toset(keys(google_cloudfunctions2_function.this)) == toset(keys(yamldecode(file("topology.yaml")).functions))
    error_message = "The functions are not those of the topology."
  }
  assert {
    condition = alltrue([
      for name, each in yamldecode(file("topology.yaml")).functions :
      google_cloudfunctions2_function.this[name].build_config[0].entry_point == name
      && google_cloudfunctions2_function.this[name].build_config[0].environment_variables.GOOGLE_FUNCTION_SOURCE == "functions/${name}/main.py"
      && google_cloudfunctions2_function.this[name].service_config[0].environment_variables.PYTHONPATH == "/workspace"
      && fileexists("../functions/${name}/main.py")
    ])
    error_message = "A function is not built from its main.py."
  }
  assert {
    condition = alltrue([
      for name, each in yamldecode(file("topology.yaml")).functions :
      google_cloudfunctions2_function.this[name].service_config[0].timeout_seconds == each.timeoutSeconds
      && google_cloudfunctions2_function.this[name].service_config[0].available_memory == "${each.memoryMiB}Mi"
      && google_cloudfunctions2_function.this[name].service_config[0].max_instance_request_concurrency == each.concurrency
      && google_cloudfunctions2_function.this[name].service_config[0].environment_variables.THREADS == tostring(each.concurrency)
      && google_cloudfunctions2_function.this[name].service_config[0].min_instance_count == each.minInstances
      && google_cloudfunctions2_function.this[name].service_config[0].max_instance_count == each.maxInstances
    ])
    error_message = "A function's limits are not those of the topology."
  }
  assert {
    condition = alltrue([
      for name, each in yamldecode(file("topology.yaml")).functions :
      google_cloudfunctions2_function.this[name].service_config[0].service_account_email == google_service_account.function[name].email
      ]) && length(toset([
        for each in google_service_account.function : each.account_id
    ])) == length(yamldecode(file("topology.yaml")).functions)
    error_message = "A function does not run as an account of its own."
  }
  assert {
    condition     = length(distinct([for each in google_cloudfunctions2_function.this : each.build_config[0].source[0].storage_source[0].object])) == 1
    error_message = "The functions are not built from one source."
  }
  assert {
    condition = alltrue([
      for name, each in yamldecode(file("topology.yaml")).functions :
      google_cloudfunctions2_function.this[name].service_config[0].ingress_settings == (each.trigger == "http" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY")
      && length(google_cloudfunctions2_function.this[name].event_trigger) == 0
    ])
    error_message = "A function that is only pushed to can be reached from outside."
  }
  assert {
    condition = alltrue([
      for name, each in yamldecode(file("topology.yaml")).functions :
      length(google_cloudfunctions2_function.this[name].service_config[0].direct_vpc_network_interface) == 0
      && length(google_cloudfunctions2_function.this[name].service_config[0].secret_environment_variables) == 0
    ])
    error_message = "A function is in a network, or has a secret, that nobody asked for."
  }
  assert {
    condition = jsondecode(google_cloudfunctions2_function.this["tracker"].service_config[0].environment_variables.IPS_CLUSTERS) == {
      default = { gke = "projects/acme-prod/locations/europe-west1/clusters/shop", gkeEndpoint = "auto" }
    }
    error_message = "The clusters do not reach the functions."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["api"].service_config[0].environment_variables.IPS_AUTH == "iam" && !can(google_cloudfunctions2_function.this["batch"].service_config[0].environment_variables.IPS_AUTH)
    error_message = "Only the API has callers to tell apart."
  }
}

run "database" {
  assert {
    condition = length(google_firestore_index.this) == length(jsondecode(file("firestore.indexes.json")).indexes) && alltrue([
      for index in jsondecode(file("firestore.indexes.json")).indexes :
      contains([
        for made in values(google_firestore_index.this) : jsonencode([
          made.collection, made.query_scope, [for field in made.fields : [field.field_path, field.order]],
        ])
      ], jsonencode([index.collectionGroup, index.queryScope, [for field in index.fields : [field.fieldPath, field.order]]]))
    ])
    error_message = "The composite indexes are not those of firestore.indexes.json."
  }
  assert {
    condition = length(google_firestore_field.this) == length(jsondecode(file("firestore.indexes.json")).fieldOverrides) && alltrue([
      for each in jsondecode(file("firestore.indexes.json")).fieldOverrides :
      length(google_firestore_field.this["${each.collectionGroup}.${each.fieldPath}"].ttl_config) == (each.ttl ? 1 : 0)
      && length(google_firestore_field.this["${each.collectionGroup}.${each.fieldPath}"].index_config[0].indexes) == length(each.indexes)
    ])
    error_message = "The TTL fields are not those of firestore.indexes.json."
  }
  assert {
    condition = (
      google_firestore_database.this[0].name == "(default)" && google_firestore_database.this[0].type == "FIRESTORE_NATIVE"
      && google_firestore_database.this[0].location_id == "europe-west1"
      && google_firestore_database.this[0].delete_protection_state == "DELETE_PROTECTION_ENABLED"
    )
    error_message = "The database is not as asked for."
  }
}

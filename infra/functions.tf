locals {
  functions = {
    for name, declared in local.topology.functions : name => {
      needs         = local.needs.functions[name]
      pushed        = declared.trigger == "pubsub"
      timeout       = declared.timeoutSeconds
      concurrency   = declared.concurrency
      memory        = coalesce(try(var.functions[name].memory_mib, null), declared.memoryMiB)
      min_instances = coalesce(try(var.functions[name].min_instances, null), declared.minInstances)
      max_instances = coalesce(try(var.functions[name].max_instances, null), declared.maxInstances)
      in_vpc        = var.vpc != null && contains(coalesce(try(var.vpc.functions, null), local.with_cloud), name)
    }
  }

  uris = { for name, function in google_cloudfunctions2_function.this : name => function.service_config[0].uri }

  common_environment = merge(var.settings, {
    GOOGLE_CLOUD_PROJECT   = local.project
    IPS_FIRESTORE_DATABASE = var.firestore.database
    K8S_NAMESPACE          = var.namespace
    IPS_CLUSTERS = jsonencode({
      for name, cluster in var.clusters : name => { gke = cluster.gke, gkeEndpoint = cluster.endpoint }
    })
    LOG_FORMAT = "json"
    # The framework looks for modules beside main.py only; ours stand at the root of the source.
    PYTHONPATH = "/workspace"
  })

  own_environment = { for name, value in {
    IPS_AUTH          = var.access.mode
    IPS_WRITERS       = join(",", var.access.writers)
    IPS_READERS       = join(",", var.access.readers)
    IPS_OIDC_ISSUER   = var.access.oidc_issuer
    IPS_OIDC_AUDIENCE = join(",", var.access.oidc_audience)
    IPS_IAP_AUDIENCE  = join(",", var.access.iap_audience)
    IPS_RELEASE_RULES = length(var.release_rules) == 0 ? null : jsonencode(var.release_rules)
  } : name => value if value != null && value != "" }

  # A secret's value never comes here, only where it is.
  secrets = { for name, secret in {
    IPS_API_KEYS        = var.api_keys
    IPS_WEBHOOK_SECRETS = var.webhook_secrets
    } : name => {
    project = coalesce(secret.project, local.project)
    secret  = secret.secret
    version = secret.version
  } if secret != null }
}

resource "google_service_account" "function" {
  for_each = local.functions

  project      = local.project
  account_id   = local.names[each.key]
  display_name = "IPS: the function ${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_cloudfunctions2_function" "this" {
  for_each = local.functions

  project     = local.project
  location    = local.region
  name        = local.names[each.key]
  description = "Image Prewarm Service, ${each.key}"
  labels      = local.labels

  # One source for all: which function it becomes is decided by these two names.
  build_config {
    runtime         = var.runtime
    entry_point     = each.key
    service_account = google_service_account.build.id

    environment_variables = {
      GOOGLE_FUNCTION_SOURCE = "functions/${each.key}/main.py"
    }

    source {
      storage_source {
        bucket = local.source.bucket
        object = local.source.object
      }
    }
  }

  service_config {
    service_account_email = google_service_account.function[each.key].email
    timeout_seconds       = each.value.timeout
    available_memory      = "${each.value.memory}Mi"
    # Less than one whole would allow one request at a time only.
    available_cpu                    = "1"
    max_instance_request_concurrency = each.value.concurrency
    min_instance_count               = each.value.min_instances
    max_instance_count               = each.value.max_instances
    all_traffic_on_latest_revision   = true

    # Pub/Sub of the same project counts as internal.
    ingress_settings = each.value.pushed ? "ALLOW_INTERNAL_ONLY" : var.api_ingress

    environment_variables = merge(
      local.common_environment,
      { for name, value in local.own_environment : name => value if contains(each.value.needs.own, name) },
      {
        IPS_FUNCTION = each.key
        # As many requests at a time as the platform sends.
        THREADS = tostring(each.value.concurrency)
      },
    )

    dynamic "secret_environment_variables" {
      for_each = { for name in each.value.needs.secrets : name => local.secrets[name] if contains(keys(local.secrets), name) }
      content {
        key        = secret_environment_variables.key
        project_id = secret_environment_variables.value.project
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }

    direct_vpc_egress = each.value.in_vpc ? var.vpc.egress : null

    dynamic "direct_vpc_network_interface" {
      for_each = each.value.in_vpc ? [var.vpc] : []
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
        tags       = direct_vpc_network_interface.value.tags
      }
    }
  }

  depends_on = [
    google_project_service.this,
    google_project_iam_member.build,
    google_secret_manager_secret_iam_member.function,
  ]
}

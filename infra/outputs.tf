output "api_url" {
  description = "Where the API answers; every call needs an ID token of one of `api_callers`."
  value       = local.uris.api
}

output "functions" {
  description = "Each function's name in the project, its URL and its service account."
  value = {
    for name in keys(local.functions) : name => {
      name            = google_cloudfunctions2_function.this[name].name
      uri             = local.uris[name]
      service_account = google_service_account.function[name].email
    }
  }
}

output "subscriptions" {
  description = "Each push subscription's function and where it pushes."
  value = {
    for name, subscription in google_pubsub_subscription.push : name => {
      function = local.subscriptions[name].function
      endpoint = subscription.push_config[0].push_endpoint
    }
  }
}

output "kubernetes_bindings" {
  description = "For every cluster: binds the roles of deploy/k8s/base to the functions they are for. `terraform output -raw kubernetes_bindings | kubectl apply -f -`"
  value       = join("---\n", [for binding in local.bindings : yamlencode(binding)])
}

output "dashboard" {
  description = "The dashboard's resource name."
  value       = google_monitoring_dashboard.this.id
}

locals {
  # GKE names an account by its address; where a token was made without that scope, by its number.
  subjects = {
    for name in local.with_cloud : name => [
      for user in [google_service_account.function[name].email, google_service_account.function[name].unique_id] : {
        apiGroup = "rbac.authorization.k8s.io"
        kind     = "User"
        name     = user
      }
    ]
  }
  # Roles are named after the functions, with the prefix that functions have by default.
  bindings = concat(
    [
      for name in local.with_cloud : {
        apiVersion = "rbac.authorization.k8s.io/v1"
        kind       = "ClusterRoleBinding"
        metadata   = { name = "ips-${name}", labels = { "app.kubernetes.io/part-of" = "ips" } }
        roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = "ips-${name}" }
        subjects   = local.subjects[name]
      } if contains(local.needs.functions[name].clusters, "nodes")
    ],
    [
      for name in local.with_cloud : {
        apiVersion = "rbac.authorization.k8s.io/v1"
        kind       = "RoleBinding"
        metadata   = { name = "ips-${name}", namespace = var.namespace, labels = { "app.kubernetes.io/part-of" = "ips" } }
        roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = "ips-${name}" }
        subjects   = local.subjects[name]
      } if contains(local.needs.functions[name].clusters, "namespace")
    ],
  )
}

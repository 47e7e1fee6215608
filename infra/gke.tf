# To find a cluster and to be let in at its DNS endpoint. What may be done inside is decided by RBAC there:
# the output kubernetes_bindings.

locals {
  cluster_projects = toset(var.grant_cluster_access ? [for cluster in values(var.clusters) : split("/", cluster.gke)[1]] : [])
  cluster_grants = {
    for pair in setproduct(local.with_cloud, local.cluster_projects) :
    "${pair[0]} in ${pair[1]}" => { function = pair[0], project = pair[1] }
  }
}

# roles/container.clusterViewer lists all clusters and may not connect; roles that may, read everything inside, too.
resource "google_project_iam_custom_role" "cluster" {
  for_each = local.cluster_projects

  project     = each.value
  role_id     = "${replace(var.name_prefix, "-", "_")}cluster"
  title       = "IPS: reach a cluster"
  description = "Look a GKE cluster up and connect to its DNS endpoint; nothing inside."
  permissions = ["container.clusters.connect", "container.clusters.get"]
}

resource "google_project_iam_member" "cluster" {
  for_each = local.cluster_grants

  project = each.value.project
  role    = google_project_iam_custom_role.cluster[each.value.project].name
  member  = google_service_account.function[each.value.function].member
}

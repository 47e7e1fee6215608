# Where

variable "project_id" {
  description = "The project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "Must be the id of a project: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where the functions, the scheduler and, unless `firestore.location` says otherwise, the database are. Near the clusters."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Must be a region, such as europe-west1; not a zone."
  }
}

variable "name_prefix" {
  description = "Before the names of functions, service accounts and metrics. Topics and subscriptions keep their names: the functions know them, so a project holds one installation."
  type        = string
  default     = "ips-"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}-$", var.name_prefix))
    error_message = "Must be 3 to 17 lower-case letters, digits and hyphens, with a letter first and a hyphen last."
  }
}

variable "labels" {
  description = "Labels for everything that can have some, besides `app = ips`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Keys and values are lower-case letters, digits, _ and -, 63 characters at most; keys begin with a letter."
  }
}

variable "enable_apis" {
  description = "Enable the APIs that are needed; false if somebody else does that in your project."
  type        = bool
  default     = true
}

# What runs

variable "source_archive" {
  description = "A zip of the source on this machine, with functions/, ips_common/ and requirements.txt at its root. The module makes a bucket and uploads it. Either this or `source_object`."
  type        = string
  default     = null

  validation {
    condition     = (var.source_archive == null) != (var.source_object == null)
    error_message = "Give one of source_archive and source_object."
  }
}

variable "source_object" {
  description = "The same zip where it was uploaded already. A new version has to be a new object: under a name it knows, Terraform sees no change."
  type = object({
    bucket = string
    object = string
  })
  default = null
}

variable "runtime" {
  description = "The Python runtime of the functions."
  type        = string
  default     = "python312"

  validation {
    condition     = contains(["python311", "python312", "python313", "python314"], var.runtime)
    error_message = "Must be python311, python312, python313 or python314."
  }
}

variable "functions" {
  description = "Changes to topology.yaml's sizes, by function."
  type = map(object({
    memory_mib    = optional(number)
    min_instances = optional(number)
    max_instances = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.functions) : contains(keys(local.topology.functions), name)])
    error_message = "There are only the functions of topology.yaml."
  }
  validation {
    condition     = alltrue([for each in values(var.functions) : coalesce(each.memory_mib, 256) >= 256 && coalesce(each.memory_mib, 256) <= 4096])
    error_message = "memory_mib must be 256 to 4096: a function has one CPU."
  }
  validation {
    condition = alltrue([
      for name, each in var.functions : coalesce(each.min_instances, 0) >= 0 && coalesce(each.min_instances, 0)
      <= coalesce(each.max_instances, try(local.topology.functions[name].maxInstances, 1))
    ])
    error_message = "min_instances must be 0 to max_instances."
  }
  validation {
    condition     = coalesce(try(var.functions["tracker"].max_instances, null), 1) == 1
    error_message = "There is one tracker: it holds the leases and watches, and kicks reach it in the same process."
  }
}

variable "settings" {
  description = "Environment variables for all functions, by the names of the configuration, e.g. { MAX_CONCURRENT_TASKS = \"20\" }. What the module sets itself has a variable of its own."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : contains(local.needs.settings, name)])
    error_message = "Only the names under `settings` in functions.yaml can be set here."
  }
  validation {
    condition     = contains(["DEBUG", "INFO"], upper(lookup(var.settings, "LOG_LEVEL", "INFO")))
    error_message = "LOG_LEVEL must be INFO or DEBUG: metrics and alerts count entries of level INFO."
  }
}

variable "firestore" {
  description = "The database. `create = false` for one that exists; it must be in Native mode. The location defaults to the region and can never be changed."
  type = object({
    create                 = optional(bool, true)
    database               = optional(string, "(default)")
    location               = optional(string)
    delete_protection      = optional(bool, true)
    point_in_time_recovery = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.firestore.database == "(default)" || can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.firestore.database))
    error_message = "A database is called (default), or by 4 to 63 lower-case letters, digits and hyphens."
  }
}

# Clusters

variable "clusters" {
  description = "GKE clusters by the names that tasks call them by; a task without one goes to `default`. `gke` is projects/P/locations/L/clusters/C; `endpoint` is auto, dns, ip or private."
  type = map(object({
    gke      = string
    endpoint = optional(string, "auto")
  }))

  validation {
    condition     = length(var.clusters) > 0
    error_message = "Without a cluster there is nothing to do."
  }
  validation {
    condition     = alltrue([for name in keys(var.clusters) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "A cluster's name is 1 to 63 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for each in values(var.clusters) : can(regex("^projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/clusters/[a-z0-9-]+$", each.gke))])
    error_message = "gke must be projects/PROJECT/locations/LOCATION/clusters/CLUSTER."
  }
  validation {
    condition     = alltrue([for each in values(var.clusters) : contains(["auto", "dns", "ip", "private"], each.endpoint)])
    error_message = "endpoint must be auto, dns, ip or private."
  }
  validation {
    condition     = var.vpc != null || alltrue([for each in values(var.clusters) : each.endpoint != "private"])
    error_message = "A private endpoint can only be reached with vpc set."
  }
}

variable "namespace" {
  description = "The namespace for Jobs, the same in all clusters (deploy/k8s/base makes it)."
  type        = string
  default     = "ips"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "Must be the name of a namespace."
  }
}

variable "grant_cluster_access" {
  description = "Make the role that reaches a cluster, in every project with one, and grant it; false where somebody else decides over these projects. The functions then need container.clusters.get and container.clusters.connect."
  type        = bool
  default     = true
}

variable "vpc" {
  description = "Direct VPC egress, for clusters with private endpoints and for webhooks inside the network. `functions` defaults to those that call clusters."
  type = object({
    network    = optional(string)
    subnetwork = optional(string)
    tags       = optional(list(string), [])
    egress     = optional(string, "VPC_EGRESS_PRIVATE_RANGES_ONLY")
    functions  = optional(list(string))
  })
  default = null

  validation {
    condition     = var.vpc == null || try(var.vpc.network, null) != null || try(var.vpc.subnetwork, null) != null
    error_message = "Give network, subnetwork or both."
  }
  validation {
    condition     = var.vpc == null || contains(["VPC_EGRESS_PRIVATE_RANGES_ONLY", "VPC_EGRESS_ALL_TRAFFIC"], try(var.vpc.egress, ""))
    error_message = "egress must be VPC_EGRESS_PRIVATE_RANGES_ONLY or VPC_EGRESS_ALL_TRAFFIC."
  }
  validation {
    condition     = alltrue([for name in coalesce(try(var.vpc.functions, null), []) : contains(keys(local.topology.functions), name)])
    error_message = "functions may name functions of topology.yaml only."
  }
}

# Callers

variable "api_callers" {
  description = "Who may call the API, as IAM members: serviceAccount:..., group:..., user:... Empty: nobody can."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.api_callers : can(regex("^(allUsers|allAuthenticatedUsers|[A-Za-z]+:.+)$", member))])
    error_message = "Must be IAM members, such as serviceAccount:ci@my-project.iam.gserviceaccount.com."
  }
  validation {
    condition = (
      length(setintersection(var.api_callers, ["allUsers", "allAuthenticatedUsers"])) == 0
      || contains(["api-key", "oidc"], var.access.mode)
    )
    error_message = "allUsers and allAuthenticatedUsers only with access.mode api-key or oidc: nothing else would tell callers apart."
  }
}

variable "api_ingress" {
  description = "From where the API can be reached: ALLOW_ALL, ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB."
  type        = string
  default     = "ALLOW_ALL"

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.api_ingress)
    error_message = "Must be ALLOW_ALL, ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB."
  }
}

variable "access" {
  description = "How the API tells callers apart, besides IAM: IPS_AUTH, IPS_WRITERS and so on in docs/access.md."
  type = object({
    mode          = optional(string, "iam")
    writers       = optional(list(string), [])
    readers       = optional(list(string), [])
    oidc_issuer   = optional(string)
    oidc_audience = optional(list(string), [])
    iap_audience  = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["none", "iam", "api-key", "oidc"], var.access.mode)
    error_message = "mode must be none, iam, api-key or oidc."
  }
  validation {
    condition     = var.access.mode != "api-key" || var.api_keys != null
    error_message = "mode api-key needs api_keys."
  }
  validation {
    condition = var.access.mode != "oidc" || (
      var.access.oidc_issuer != null && length(var.access.oidc_audience) > 0 && length(concat(var.access.writers, var.access.readers)) > 0
    )
    error_message = "mode oidc needs oidc_issuer, oidc_audience and writers or readers."
  }
}

variable "api_keys" {
  description = "The secret in Secret Manager that holds IPS_API_KEYS (docs/access.md). It must have the version before the functions are made."
  type = object({
    secret  = string
    version = optional(string, "latest")
    project = optional(string)
  })
  default = null
}

variable "webhook_secrets" {
  description = "The secret in Secret Manager that holds IPS_WEBHOOK_SECRETS: one key of at least 16 characters, or several with commas (docs/webhooks.md). Without it webhooks are not signed. `latest` is read when an instance starts."
  type = object({
    secret  = string
    version = optional(string, "latest")
    project = optional(string)
  })
  default = null
}

# Release events

variable "release_rules" {
  description = "IPS_RELEASE_RULES: which released images are prewarmed, and where."
  type        = any
  default     = []

  validation {
    condition     = can([for rule in var.release_rules : rule.name]) && can([for rule in var.release_rules : rule.images])
    error_message = "Must be a list of rules, each with a name and images."
  }
}

variable "existing_topics" {
  description = "Topics of topology.yaml that are there already, by name; the value is their project, null for this one. Artifact Registry makes gcr where its API is enabled."
  type        = map(string)
  default     = { gcr = null }
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.existing_topics) : contains([for topic in local.topology.topics : topic.name], name)])
    error_message = "There are only the topics of topology.yaml."
  }
  validation {
    condition = alltrue([
      for name, project in var.existing_topics : coalesce(project, var.project_id) == var.project_id if contains(local.own_topics, name)
    ])
    error_message = "Topics that functions publish to, or that dead letters go to, must be in this project."
  }
}

variable "deploy_projects" {
  description = "Projects whose Cloud Deploy releases may be looked up."
  type        = set(string)
  default     = []
}

# Operating

variable "notification_channels" {
  description = "Whom alerts are sent to: projects/P/notificationChannels/N. Empty: they are shown in the console only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", each))])
    error_message = "Must be projects/PROJECT/notificationChannels/NUMBER."
  }
}

variable "alerts" {
  description = "When alerts fire. The tracker's own message may be held for as long as it tracks (IPS_TRACKER_SECONDS), so keep backlog_age_seconds above that."
  type = object({
    task_failure_ratio      = optional(number, 0.2)
    task_failure_minimum    = optional(number, 2)
    api_error_ratio         = optional(number, 0.05)
    tracker_silence_seconds = optional(number, 600)
    backlog_age_seconds     = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alerts.task_failure_ratio > 0 && var.alerts.task_failure_ratio < 1 && var.alerts.api_error_ratio > 0 && var.alerts.api_error_ratio < 1
    error_message = "Ratios must be between 0 and 1."
  }
  validation {
    condition     = var.alerts.task_failure_minimum >= 1
    error_message = "task_failure_minimum must be at least 1."
  }
  validation {
    condition     = var.alerts.tracker_silence_seconds >= 600 && var.alerts.tracker_silence_seconds <= 84600 && var.alerts.tracker_silence_seconds % 60 == 0
    error_message = "tracker_silence_seconds must be whole minutes, from 600 (the tracker holds a message that long) to 84600."
  }
  validation {
    condition     = var.alerts.backlog_age_seconds >= 600
    error_message = "backlog_age_seconds must be at least 600: the tracker holds a message that long."
  }
}

# The examples can be planned: nothing that only exists after an apply has to be known before.

mock_provider "google" {}

run "minimal" {
  command = plan
  module {
    source = "./examples/minimal"
  }
  variables {
    project_id = "acme-prewarm"
    region     = "europe-west1"
    cluster    = "projects/acme-prod/locations/europe-west1/clusters/shop"
    archive    = "topology.yaml"
  }
  assert {
    condition     = google_service_account.pipeline.account_id == "release-pipeline"
    error_message = "Its pipeline is another one."
  }
}

run "complete" {
  command = plan
  module {
    source = "./examples/complete"
  }
  variables {
    source_object = "ips-1.zip"
  }
  assert {
    condition     = google_monitoring_notification_channel.team.type == "email"
    error_message = "Alerts go elsewhere."
  }
}

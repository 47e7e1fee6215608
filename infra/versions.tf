terraform {
  # 1.9: validations that look at other variables.
  required_version = ">= 1.9.0"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.21: functions with Direct VPC egress.
      version = ">= 7.21.0, < 8.0.0"
    }
  }
}

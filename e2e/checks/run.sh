#!/usr/bin/env bash
# Static checks of what is installed and of what the operator renders. See main.go.
set -euo pipefail
cd "$(dirname "$0")"
go vet .
exec go run . "$@"

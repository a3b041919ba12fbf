#!/usr/bin/env bash
# Installs what this checkout needs and the machine lacks. Does nothing if nothing is missing.
# Without arguments: for development. --release: also for release builds. --tests: also for the
# tests and benchmarks. Packages of the system go to the system, everything else to .tools/.
set -euo pipefail
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tools/env.sh
source "$tools/env.sh"
# shellcheck source=tools/steps.sh
source "$tools/steps.sh"
# shellcheck source=tools/install.sh
source "$tools/install.sh"

mode=development
case "$*" in
  "") ;;
  --release) mode=release ;;
  --tests) mode=tests ;;
  *) die "usage: setup.sh [--release | --tests]" ;;
esac
trap stop_steps EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

queue_installation "$mode"
run_foreground system
require_toolchain
run_concurrent tools
remove_build_cache
log "setup complete"

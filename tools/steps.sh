# Runs installation and build steps and reports their progress. Sourced, not executed.
#
#   queue_step LANE NAME LABEL DURATION COMMAND   queues the shell function COMMAND
#   run_foreground LANE                           runs the steps of a lane one after another
#   run_concurrent LANE...                        runs several lanes at the same time
#
# Each step prints its number, its label and the usual duration. Its output goes to
# .tools/log/NAME.log; the last lines are printed if the step fails. While concurrent steps run, the
# crate counts of cargo's progress bars are shown: in one updated line on a terminal, otherwise in
# a new line every 30 seconds.
#
# The calling script must run stop_steps when it exits.
# shellcheck shell=bash

LOG_DIR="$TOOLS/log"
REPORT_INTERVAL=30
# Two compilers at the same time need about this much memory.
MIN_CONCURRENT_MEMORY_KB=$((6 * 1024 * 1024))

step_lanes=() step_names=() step_labels=() step_durations=() step_commands=()
lane_pids=()
step_state="" # folder: a file NUMBER for each running step, a file `failed` after a failure

queue_step() {
  step_lanes+=("$1") step_names+=("$2") step_labels+=("$3") step_durations+=("$4") step_commands+=("$5")
}

format_duration() { printf '%d:%02d' "$(($1 / 60))" "$(($1 % 60))"; }

clear_status_line() { [ ! -t 1 ] || printf '\r\033[K'; }

run_step() {
  local step="$1" started=$SECONDS status=0
  local prefix="[$((step + 1))/${#step_labels[@]}] ${step_labels[step]}" log_file="$LOG_DIR/${step_names[step]}.log"
  clear_status_line
  log "$prefix${step_durations[step]:+ (usually ${step_durations[step]} on two cores)}"
  : > "$step_state/$step"
  set +e
  (
    set -e
    # Cargo writes its progress bar into the log, where show_progress reads the counts.
    export CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 CARGO_TERM_COLOR=never
    "${step_commands[step]}"
  ) > "$log_file" 2>&1 < /dev/null
  status=$?
  set -e
  rm -f "$step_state/$step"
  clear_status_line
  if [ "$status" != 0 ]; then
    : > "$step_state/failed"
    printf 'error: %s failed; the last lines of %s:\n' "$prefix" "$log_file" >&2
    tr '\r' '\n' < "$log_file" | grep -vE '^ *((Building|Compiling|Checking|Downloading|Downloaded) .*)?$' | tail -n 40 >&2 || true
    exit 1
  fi
  log "$prefix: done in $(format_duration "$((SECONDS - started))")"
}

run_lane() {
  local step
  for step in "${!step_lanes[@]}"; do
    if [ "${step_lanes[step]}" = "$1" ]; then run_step "$step"; fi
  done
}

prepare_step_state() {
  mkdir -p "$LOG_DIR"
  [ -n "$step_state" ] || step_state=$(mktemp -d)
}

run_foreground() {
  prepare_step_state
  run_lane "$1"
}

# Prints the last count of cargo's progress bar in the log file $1, for example 120/310.
crate_count() {
  local bar
  bar=$(tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | grep -oE '\] +[0-9]+/[0-9]+' | tail -n 1) || true
  printf '%s' "${bar##* }"
}

# Prints the running steps with their crate counts. $1 is the elapsed time in seconds.
show_progress() {
  local step count text="" columns
  for step in "${!step_names[@]}"; do
    [ -e "$step_state/$step" ] || continue
    count=$(crate_count "$LOG_DIR/${step_names[step]}.log")
    text+="${text:+, }[$((step + 1))/${#step_names[@]}] ${step_names[step]}${count:+: $count crates}"
  done
  [ -n "$text" ] || return 0
  text+=" ($(format_duration "$1"))"
  if [ -t 1 ]; then
    columns=$(tput cols 2>/dev/null || echo 80)
    printf '\r\033[K%s' "${text:0:$((columns - 1))}"
  else
    log "$text"
  fi
}

has_resources_for_two_builds() {
  [ "$(nproc)" -ge 2 ] || return 1
  awk -v needed="$MIN_CONCURRENT_MEMORY_KB" '/^MemAvailable:/ { exit !($2 >= needed) }' /proc/meminfo
}

lanes_are_running() {
  local pid
  for pid in "${lane_pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then return 0; fi
  done
  return 1
}

run_concurrent() {
  local lane pid started=$SECONDS next_report=$((SECONDS + REPORT_INTERVAL)) failed=no
  prepare_step_state
  # A process group per lane, so that stop_steps can end a lane with all its compilers.
  set -m
  if has_resources_for_two_builds; then
    for lane in "$@"; do (run_lane "$lane") & lane_pids+=($!); done
  else
    (for lane in "$@"; do run_lane "$lane"; done) & lane_pids+=($!)
  fi
  set +m
  while lanes_are_running && [ ! -e "$step_state/failed" ]; do
    sleep 0.5
    if [ -t 1 ]; then
      show_progress "$((SECONDS - started))"
    elif [ "$SECONDS" -ge "$next_report" ]; then
      show_progress "$((SECONDS - started))"
      next_report=$((SECONDS + REPORT_INTERVAL))
    fi
  done
  clear_status_line
  # The failing step has printed its error; the other lane is ended by the exit handler.
  [ ! -e "$step_state/failed" ] || exit 1
  for pid in "${lane_pids[@]}"; do wait "$pid" || failed=yes; done
  lane_pids=()
  [ "$failed" = no ] || die "a build was ended by a signal; the logs are in $LOG_DIR"
}

stop_steps() {
  local pid
  for pid in "${lane_pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  lane_pids=()
  [ -z "$step_state" ] || rm -rf "$step_state"
  step_state=""
}

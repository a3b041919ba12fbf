# Settings and paths shared by all scripts of this folder. Sourced, not executed. Installs nothing.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TOOLS="$ROOT/.tools"
mkdir -p "$TOOLS/bin"

# Versions of the build tools; install.sh reads them. wasm-bindgen must have the version of
# Cargo.lock: its output format is not stable between versions.
# shellcheck disable=SC2034
TRUNK_VERSION=0.21.14 WASM_BINDGEN_VERSION=0.2.130
# The splitter must understand the markers of the wasm_split macro in Cargo.lock.
# shellcheck disable=SC2034
WASM_SPLIT_VERSION=0.2.4 NEXTEST_VERSION=0.9.143 JUST_VERSION=1.57.0 SCHEMATHESIS_VERSION=4.32.5

# Precedence: environment, then .env in the root folder, then the defaults below.
if [ -f "$ROOT/.env" ]; then
  while IFS='=' read -r name value; do
    case "$name" in ''|\#*) continue ;; esac
    [ -n "${!name+set}" ] || export "$name=$value"
  done < "$ROOT/.env"
fi

export API_PORT="${API_PORT:-4000}"
export PUBSUB_PORT="${PUBSUB_PORT:-4001}"
export WEB_PORT="${WEB_PORT:-5173}"
export FILES_DIR="${FILES_DIR:-$ROOT/.files}"
export DATABASE_PORT="${DATABASE_PORT:-5434}"
export DATABASE_URL="${DATABASE_URL:-postgresql://app:app@localhost:$DATABASE_PORT/app}"
export CARGO_PROFILE_DEV_DEBUG="${CARGO_PROFILE_DEV_DEBUG:-line-tables-only}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
export PATH="$TOOLS/bin:$ROOT/tools/node_modules/.bin:$PATH"
export npm_config_fund=false npm_config_audit=false npm_config_update_notifier=false

log() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Succeeds if the compiler $1 can build for the browser.
can_build_wasm() {
  local folder
  folder=$("$1" --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) || return 1
  compgen -G "$folder/libstd-*.rlib" >/dev/null && compgen -G "$folder/libtest-*.rlib" >/dev/null
}

# Selects the compiler of this checkout: 'ordinary' is the one on PATH, 'debian' the one of Debian's
# rust-web packages, for machines without access to a toolchain server. PMO_TOOLCHAIN overrides it.
choose_toolchain() {
  if [ -n "${PMO_TOOLCHAIN:-}" ]; then TOOLCHAIN="$PMO_TOOLCHAIN"
  elif [ "${RUSTC:-}" = /usr/bin/rustc ]; then TOOLCHAIN=debian # selected by the calling script
  elif command -v rustc >/dev/null && can_build_wasm "$(command -v rustc)"; then TOOLCHAIN=ordinary
  elif [ -x /usr/bin/rustc ] && can_build_wasm /usr/bin/rustc; then TOOLCHAIN=debian
  else TOOLCHAIN=none; fi
  case "$TOOLCHAIN" in
    debian)
      # One compiler for all builds: two compilers would invalidate each other's build cache.
      mkdir -p "$TOOLS/debian"
      for program in rustc cargo rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        [ ! -x "/usr/bin/$program" ] || ln -sf "/usr/bin/$program" "$TOOLS/debian/$program"
      done
      export PATH="$TOOLS/debian:$PATH"
      export RUSTC=/usr/bin/rustc
      export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="${CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER:-wasm-ld-22}"
      ;;
    ordinary|none) ;;
    *) die "PMO_TOOLCHAIN is '$TOOLCHAIN'; it must be 'ordinary' or 'debian'" ;;
  esac
}
choose_toolchain

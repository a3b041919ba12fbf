#!/usr/bin/env bash
# Installs what this checkout needs and the machine lacks: compiler target, build tools, browser, database programs.
# Safe to run again; does nothing where nothing is missing. Build tools go to .tools/ in the checkout.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"
  else die "'$*' needs root: run it yourself, then start again"; fi
}
apt_updated=
apt_install() {
  command -v apt-get >/dev/null || die "these are missing and this is no Debian or Ubuntu: $*. Install them by your system's means, then start again"
  [ -n "$apt_updated" ] || { as_root apt-get update -qq; apt_updated=yes; }
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

command -v cargo >/dev/null || die "no Rust toolchain: install one from https://rustup.rs (or Debian's rustc-web), then start again"
command -v cc >/dev/null || die "no C compiler: 'apt-get install gcc' (or your system's), then start again"

# --- the browser target -------------------------------------------------------------------------------------------
build_debian_sysroot() {
  log "building the standard library for the browser (once, about a minute)"
  local work; work=$(mktemp -d)
  mkdir -p "$work/src" && : > "$work/src/lib.rs"
  printf '[package]\nname = "sysroot_seed"\nversion = "0.0.0"\nedition = "2021"\n' > "$work/Cargo.toml"
  (cd "$work" && env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cembed-bitcode=yes" \
    CARGO_TARGET_DIR="$work/target" /usr/bin/cargo build --quiet -Z build-std=std,panic_abort,proc_macro,test \
    --target wasm32-unknown-unknown --release)
  rm -f "$work"/target/wasm32-unknown-unknown/release/deps/*sysroot_seed*
  as_root mkdir -p /usr/lib/rustlib/wasm32-unknown-unknown/lib
  as_root cp "$work"/target/wasm32-unknown-unknown/release/deps/*.rlib /usr/lib/rustlib/wasm32-unknown-unknown/lib/
  rm -rf "$work" "$ROOT/target/wasm32-unknown-unknown" "$ROOT/target/web"
}
install_debian_toolchain() {
  log "installing Debian's Rust for the browser"
  apt_install rustc-web cargo-web rust-web-src rust-web-llvm rust-web-clippy rustfmt-web lld-22
  can_build_wasm /usr/bin/rustc || build_debian_sysroot
}
if [ "$TOOLCHAIN" = debian ]; then
  if ! can_build_wasm /usr/bin/rustc || ! command -v wasm-ld-22 >/dev/null || [ ! -x /usr/bin/cargo-clippy ] || [ ! -x /usr/bin/cargo-fmt ]; then
    install_debian_toolchain
  fi
elif [ "$TOOLCHAIN" = none ] || ! can_build_wasm "$(command -v rustc)"; then
  log "adding the wasm32-unknown-unknown target"
  if command -v rustup >/dev/null && timeout 60 rustup target add wasm32-unknown-unknown >/dev/null 2>&1; then :
  elif [ "${PMO_TOOLCHAIN:-}" = ordinary ]; then
    die "'rustup target add wasm32-unknown-unknown' did not go through; unset PMO_TOOLCHAIN to use Debian's compiler instead"
  else
    install_debian_toolchain
  fi
fi
choose_toolchain
[ "$TOOLCHAIN" != none ] || die "no compiler here can build for the browser, after both routes were tried"
log "compiler: $(rustc --version) ($TOOLCHAIN)"

# --- Debian packages: database programs, browser, Node.js ----------------------------------------------------------
missing=()
if ! (command -v pg_isready >/dev/null && pg_isready -q -d "$DATABASE_URL") \
  && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! { command -v initdb && command -v postgres; } >/dev/null \
  && ! docker info >/dev/null 2>&1; then missing+=(postgresql); fi
command -v psql >/dev/null || missing+=(postgresql-client)
command -v npm >/dev/null || missing+=(nodejs npm)
if [ "${1:-}" = --tests ]; then
  [ -n "${CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || missing+=(chromium)
  [ -n "${CHROMEDRIVER:-}" ] || [ -x /usr/bin/chromedriver ] || missing+=(chromium-driver)
fi
if [ ${#missing[@]} -gt 0 ]; then log "installing ${missing[*]}"; apt_install "${missing[@]}"; fi

# Debian 12's Node.js is too old for the browser tests; npm has newer ones as packages.
node_major() { node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/'; }
if [ "$(node_major || true)" = "" ] || [ "$(node_major)" -lt 20 ]; then
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) die "Node.js 20 or newer is needed: install it by your system's means, then start again" ;; esac
  log "installing Node.js 22"
  npm install --prefix "$TOOLS/node" --silent --no-save --ignore-scripts "node-linux-$arch@22.23.3" || die "npm could not install Node.js 22"
  ln -sf "$TOOLS/node/node_modules/node-linux-$arch/bin/node" "$TOOLS/bin/node"
fi

# --- npm: wasm-opt, font, icons; Playwright for the tests -----------------------------------------------------
npm_install() {
  if ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock"; then
    log "installing the npm packages of ${1#"$ROOT"/}"
    (cd "$1" && npm ci --silent --ignore-scripts) || die "npm could not install the packages of $1"
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
  fi
}
npm_install "$ROOT/tools"
[ "${1:-}" != --tests ] || npm_install "$ROOT/e2e"

# --- build tools, from source -------------------------------------------------------------------------------------
# Speed of the tool matters less than the time to build it.
cargo_install() {
  log "building $1 $2 (once for this checkout)"
  env CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$TOOLS/build" \
    cargo install --quiet --root "$TOOLS" --version "$2" "${@:3}" "$1"
}
[ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $WASM_BINDGEN_VERSION" ] || cargo_install wasm-bindgen-cli "$WASM_BINDGEN_VERSION"
[ "$(trunk --version 2>/dev/null)" = "trunk $TRUNK_VERSION" ] || cargo_install trunk "$TRUNK_VERSION" --locked --no-default-features --features rustls
# It says no version of itself; the file that cargo writes for what it installed does.
grep -q "wasm_split_cli_support $WASM_SPLIT_VERSION" "$TOOLS/.crates.toml" 2>/dev/null || cargo_install wasm_split_cli_support "$WASM_SPLIT_VERSION" --locked --features build-binary
if ! command -v just >/dev/null; then
  # A binary from PyPI takes seconds, the build from source minutes.
  if python3 -m pip install --quiet --target "$TOOLS/just" rust-just==1.57.0 >/dev/null 2>&1; then ln -sf "$TOOLS/just/bin/just" "$TOOLS/bin/just"
  else cargo_install just 1.57.0 --locked; fi
fi
if [ "${1:-}" = --tests ] && ! command -v cargo-nextest >/dev/null; then cargo_install cargo-nextest 0.9.143 --locked; fi
# Asks the interface what its description allows, and more; for the tests.
if [ "${1:-}" = --tests ] && [ "$("$TOOLS/schemathesis/bin/schemathesis" --version 2>/dev/null)" != "schemathesis, version $SCHEMATHESIS_VERSION" ]; then
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  log "installing schemathesis $SCHEMATHESIS_VERSION"
  rm -rf "$TOOLS/schemathesis" && python3 -m venv "$TOOLS/schemathesis"
  "$TOOLS/schemathesis/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION" || die "pip could not install schemathesis"
fi
rm -rf "$TOOLS/build"
log "everything that the checkout needs is here"

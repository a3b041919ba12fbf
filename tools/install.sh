# Installs what a checkout needs and the machine lacks. Sourced by setup.sh and start-all.sh after
# env.sh and steps.sh.
#
# queue_installation MODE queues a step for each missing part, in two lanes: `system` (packages and
# compiler target, must run first) and `tools` (npm packages and build tools in .tools/). Modes:
#
#   development   build and serve the app: no optimizer, no splitter, no test tools
#   release       also wasm-opt, esbuild and the splitter
#   tests         also the browser, the test runner and the API fuzzer
# shellcheck shell=bash

# --- system packages ------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "'$*' needs root: run it yourself, then start again"; fi
}

apt_updated=no
apt_install() {
  command -v apt-get >/dev/null || die "missing packages: $*. This system has no apt-get: install them with its package manager, then start again"
  # needrestart and debconf would ask questions or print warnings about the terminal.
  local quiet=(env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes NEEDRESTART_MODE=a NEEDRESTART_SUSPEND=1)
  if [ "$apt_updated" = no ]; then as_root "${quiet[@]}" apt-get update -qq; apt_updated=yes; fi
  as_root "${quiet[@]}" apt-get install -y -qq --no-install-recommends "$@"
}

has_postgres() {
  (command -v pg_isready && pg_isready -q -d "$DATABASE_URL") >/dev/null 2>&1 \
    || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null \
    || (command -v initdb && command -v postgres) >/dev/null \
    || docker info >/dev/null 2>&1
}

# Sets missing_packages.
find_missing_packages() {
  missing_packages=()
  has_postgres || missing_packages+=(postgresql)
  command -v psql >/dev/null || missing_packages+=(postgresql-client)
  command -v npm >/dev/null || missing_packages+=(nodejs npm)
  command -v curl >/dev/null || missing_packages+=(curl)
  if [ "$1" = tests ]; then
    [ -n "${CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || missing_packages+=(chromium)
    [ -n "${CHROMEDRIVER:-}" ] || [ -x /usr/bin/chromedriver ] || missing_packages+=(chromium-driver)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing_packages+=(python3-venv)
  fi
}
install_system_packages() { apt_install "${missing_packages[@]}"; }

# Node.js 18 of Debian 12 builds the app; Playwright needs a newer one, which npm has as a package.
MIN_NODE=18
MIN_NODE_TESTS=20
min_node=$MIN_NODE
has_node() {
  local major
  major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/') || true
  [ -n "$major" ] && [ "$major" -ge "$min_node" ]
}
install_node() {
  # Node.js may have come with the system packages.
  if has_node; then return 0; fi
  local arch
  case "$(uname -m)" in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) die "Node.js $min_node or newer is required: install it with your package manager, then start again" ;;
  esac
  npm install --prefix "$TOOLS/node" --no-save --ignore-scripts "node-linux-$arch@22.23.3" || die "npm could not install Node.js 22"
  ln -sf "$TOOLS/node/node_modules/node-linux-$arch/bin/node" "$TOOLS/bin/node"
}

# --- compiler target ------------------------------------------------------------------------------

has_wasm_compiler() {
  case "$TOOLCHAIN" in
    debian) can_build_wasm /usr/bin/rustc && command -v wasm-ld-22 >/dev/null && [ -x /usr/bin/cargo-clippy ] && [ -x /usr/bin/cargo-fmt ] ;;
    ordinary) can_build_wasm "$(command -v rustc)" ;;
    *) return 1 ;;
  esac
}

build_debian_sysroot() {
  local work; work=$(mktemp -d)
  mkdir -p "$work/src" && : > "$work/src/lib.rs"
  printf '[package]\nname = "sysroot_seed"\nversion = "0.0.0"\nedition = "2021"\n' > "$work/Cargo.toml"
  (cd "$work" && env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cembed-bitcode=yes" \
    CARGO_TARGET_DIR="$work/target" /usr/bin/cargo build -Z build-std=std,panic_abort,proc_macro,test \
    --target wasm32-unknown-unknown --release)
  rm -f "$work"/target/wasm32-unknown-unknown/release/deps/*sysroot_seed*
  as_root mkdir -p /usr/lib/rustlib/wasm32-unknown-unknown/lib
  as_root cp "$work"/target/wasm32-unknown-unknown/release/deps/*.rlib /usr/lib/rustlib/wasm32-unknown-unknown/lib/
  # Builds made with another standard library are invalid now.
  rm -rf "$work" "$ROOT/target/wasm32-unknown-unknown" "$ROOT/target/web"
}

install_debian_toolchain() {
  apt_install rustc-web cargo-web rust-web-src rust-web-llvm rust-web-clippy rustfmt-web lld-22
  can_build_wasm /usr/bin/rustc || build_debian_sysroot
}

install_wasm_compiler() {
  if [ "$TOOLCHAIN" = debian ]; then
    install_debian_toolchain
  elif command -v rustup >/dev/null && timeout 60 rustup target add wasm32-unknown-unknown; then
    return 0
  elif [ "${PMO_TOOLCHAIN:-}" = ordinary ]; then
    die "'rustup target add wasm32-unknown-unknown' failed; unset PMO_TOOLCHAIN to use Debian's compiler instead"
  else
    install_debian_toolchain
  fi
}

# Selects the compiler again: the lane `system` may have installed one.
require_toolchain() {
  choose_toolchain
  [ "$TOOLCHAIN" != none ] || die "no compiler can build for the browser, neither from rustup nor from Debian"
  log "compiler: $(rustc --version) ($TOOLCHAIN)"
}

# --- npm packages ---------------------------------------------------------------------------------

# A marker file holds the lock file of the last installation; `npm ci` removes it with node_modules.
ALL_MARKER=.installed-lock
REQUIRED_MARKER=.installed-lock-required
has_npm_packages() { cmp -s "$1/package-lock.json" "$1/node_modules/$2"; }
npm_install() {
  (cd "$1" && npm ci --no-progress --ignore-scripts "${@:3}") || die "npm could not install the packages of $1"
  cp "$1/package-lock.json" "$1/node_modules/$2"
}
install_required_npm_packages() { npm_install "$ROOT/tools" "$REQUIRED_MARKER" --omit=optional; }
install_npm_packages() {
  npm_install "$ROOT/tools" "$ALL_MARKER"
  # npm ignores failed downloads of optional packages.
  [ -x "$ROOT/tools/node_modules/.bin/wasm-opt" ] || die "npm could not install binaryen"
}
install_e2e_packages() { npm_install "$ROOT/e2e" "$ALL_MARKER"; }

# --- build tools from source ----------------------------------------------------------------------

# cargo_install OPT_LEVEL CRATE VERSION [ARGS...] installs a crate into .tools/. Compile time matters
# more than speed: no link-time optimization, several code generation units, no debug information.
cargo_install() {
  env CARGO_PROFILE_RELEASE_OPT_LEVEL="$1" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$TOOLS/build" \
    cargo install --root "$TOOLS" --version "$3" "${@:4}" "$2"
}

# wasm-bindgen rewrites the whole app in each build, so it is optimized a little. It speaks HTTP only
# to a local WebDriver, so it needs no TLS.
has_wasm_bindgen() { [ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $WASM_BINDGEN_VERSION" ]; }
install_wasm_bindgen() { cargo_install 1 wasm-bindgen-cli "$WASM_BINDGEN_VERSION" --no-default-features; }

# trunk starts other programs, copies files and forwards requests of one developer: it is built
# without optimization. Its default features, TLS and the update check, are not used: it downloads
# nothing and forwards to a local port.
has_trunk() { [ "$(trunk --version 2>/dev/null)" = "trunk $TRUNK_VERSION" ]; }
install_trunk() { cargo_install 0 trunk "$TRUNK_VERSION" --locked --no-default-features; }

# The splitter has no --version; cargo records the installed version.
has_wasm_split() { grep -q "wasm_split_cli_support $WASM_SPLIT_VERSION" "$TOOLS/.crates.toml" 2>/dev/null; }
install_wasm_split() { cargo_install 1 wasm_split_cli_support "$WASM_SPLIT_VERSION" --locked --features build-binary; }

has_nextest() { command -v cargo-nextest >/dev/null; }
install_nextest() { cargo_install 0 cargo-nextest "$NEXTEST_VERSION" --locked; }

# The package on PyPI contains a binary. A development start does not need just, so it does not wait
# for a build from source.
has_just() { command -v just >/dev/null; }
install_just() {
  if python3 -m pip install --quiet --retries 1 --timeout 15 --target "$TOOLS/just" "rust-just==$JUST_VERSION"; then
    ln -sf "$TOOLS/just/bin/just" "$TOOLS/bin/just"
  elif [ "$install_mode" != development ]; then
    cargo_install 0 just "$JUST_VERSION" --locked
  fi
}

has_schemathesis() { [ "$("$TOOLS/schemathesis/bin/schemathesis" --version 2>/dev/null)" = "schemathesis, version $SCHEMATHESIS_VERSION" ]; }
install_schemathesis() {
  rm -rf "$TOOLS/schemathesis"
  python3 -m venv "$TOOLS/schemathesis"
  "$TOOLS/schemathesis/bin/pip" install --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION" || die "pip could not install schemathesis"
}

# --- plan -----------------------------------------------------------------------------------------

queue_installation() {
  local mode="$1"
  install_mode="$mode"
  command -v cargo >/dev/null || die "no Rust toolchain: install one from https://rustup.rs (or Debian's rustc-web), then start again"
  command -v cc >/dev/null || die "no C compiler: run 'apt-get install gcc' or use your package manager, then start again"
  if [ "$mode" = tests ]; then min_node=$MIN_NODE_TESTS; fi

  find_missing_packages "$mode"
  if [ "${#missing_packages[@]}" -gt 0 ]; then
    queue_step system packages "install ${missing_packages[*]}" "1 min" install_system_packages
  fi
  has_node || queue_step system node "install Node.js" "10 s" install_node
  has_wasm_compiler || queue_step system compiler "install the compiler target for the browser" "1 min" install_wasm_compiler

  if [ "$mode" = development ]; then
    has_npm_packages "$ROOT/tools" "$ALL_MARKER" || has_npm_packages "$ROOT/tools" "$REQUIRED_MARKER" \
      || queue_step tools npm "install fonts and icons from npm" "10 s" install_required_npm_packages
  else
    has_npm_packages "$ROOT/tools" "$ALL_MARKER" || queue_step tools npm "install fonts, icons, wasm-opt and esbuild from npm" "20 s" install_npm_packages
  fi
  has_wasm_bindgen || queue_step tools wasm-bindgen "build wasm-bindgen $WASM_BINDGEN_VERSION" "3 min" install_wasm_bindgen
  has_trunk || queue_step tools trunk "build trunk $TRUNK_VERSION" "4 min" install_trunk
  has_just || queue_step tools just "install just $JUST_VERSION" "10 s" install_just
  [ "$mode" != development ] || return 0

  has_wasm_split || queue_step tools wasm-split "build wasm_split_cli $WASM_SPLIT_VERSION" "2 min" install_wasm_split
  [ "$mode" = tests ] || return 0

  has_npm_packages "$ROOT/e2e" "$ALL_MARKER" || queue_step tools npm-e2e "install Playwright and axe from npm" "10 s" install_e2e_packages
  has_nextest || queue_step tools nextest "build cargo-nextest $NEXTEST_VERSION" "5 min" install_nextest
  has_schemathesis || queue_step tools schemathesis "install schemathesis $SCHEMATHESIS_VERSION" "30 s" install_schemathesis
}

remove_build_cache() { rm -rf "$TOOLS/build"; }

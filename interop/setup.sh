#!/usr/bin/env bash
# Installs what the interop suite needs from the package registries, outside the repository.
#
#   setup.sh PART...     parts: java data python node go kcat rust kaskade; `all` is every part but rust
#
# What is installed lies in $INTEROP_CACHE (default: logstead-interop in the user's cache) and is reused while
# the manifests here do not change. Versions are pinned: a failure is then a change of ours.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/logstead-interop}
mkdir -p "$cache"

kafka_version=4.3.1
clients_old=2.8.2
clients_mid=3.9.2
node_version=22.23.3

say() { echo "setup: $*" >&2; }

# fresh PART FILE...: true when PART was installed from exactly these files.
fresh() {
  local part=$1 sum
  shift
  sum=$(cat "$@" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
  [ -e "$cache/$part.stamp" ] && [ "$(cat "$cache/$part.stamp")" = "$sum" ]
}
stamp() {
  local part=$1
  shift
  cat "$@" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1 >"$cache/$part.stamp"
}

# apt_get COMMAND PACKAGE...: installs the packages when COMMAND is not there.
apt_get() {
  local command=$1 sudo=""
  shift
  command -v "$command" >/dev/null && return
  [ "$(id -u)" = 0 ] || sudo=sudo
  say "installing $* for $command"
  if ! DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@" >"$cache/apt.log" 2>&1 </dev/null; then
    $sudo apt-get update -qq >"$cache/apt.log" 2>&1
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@" >>"$cache/apt.log" 2>&1 </dev/null ||
      { tail -5 "$cache/apt.log" >&2; return 1; }
  fi
}

# maven POM OUT [-Dx=y...]: writes the class path of a pom, with three tries for a registry that hiccups.
maven() {
  local pom=$1 out=$2 n
  shift 2
  for n in 1 2 3; do
    mvn -q -B -f "$pom" "$@" dependency:build-classpath -Dmdep.outputFile="$out" >"$cache/mvn.log" 2>&1 </dev/null &&
      return
    say "maven try $n failed"
  done
  tail -20 "$cache/mvn.log" >&2
  return 1
}

part_java() {
  apt_get javac openjdk-17-jdk-headless || apt_get javac default-jdk-headless
  apt_get mvn maven
  local files=("$here"/java/*.xml "$here"/java/*.java)
  fresh java "${files[@]}" && return
  say "java: class paths for Kafka $kafka_version and clients $clients_mid, $clients_old"
  rm -rf "$cache/java"
  mkdir -p "$cache/java"
  maven "$here/java/kafka.xml" "$cache/java/kafka.cp" -Dkafka=$kafka_version
  maven "$here/java/clients.xml" "$cache/java/clients-4.cp" -Dkafka=$kafka_version
  maven "$here/java/clients.xml" "$cache/java/clients-3.cp" -Dkafka=$clients_mid
  maven "$here/java/clients.xml" "$cache/java/clients-2.cp" -Dkafka=$clients_old
  local v
  for v in 2 3 4; do
    mkdir -p "$cache/java/driver-$v"
    javac -nowarn -Xlint:-options -d "$cache/java/driver-$v" -cp "$(cat "$cache/java/clients-$v.cp")" \
      "$here/java/Driver.java" "$here/java/Settle.java"
  done
  mkdir -p "$cache/java/streams"
  javac -nowarn -d "$cache/java/streams" -cp "$(cat "$cache/java/kafka.cp")" "$here/java/Streams.java" "$here/java/Settle.java"
  stamp java "${files[@]}"
}

part_data() {
  apt_get node nodejs
  apt_get npm npm
  fresh data "$here/node/data/package.json" && return
  say "data: vega-datasets"
  rm -rf "$cache/data"
  mkdir -p "$cache/data"
  cp "$here/node/data/package.json" "$cache/data/"
  (cd "$cache/data" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --silent </dev/null)
  node -e '
    const fs = require("fs");
    const rows = JSON.parse(fs.readFileSync(process.argv[1]));
    fs.writeFileSync(process.argv[2], rows.map(r => r.origin + "\t" + JSON.stringify(r) + "\n").join(""));
  ' "$cache/data/node_modules/vega-datasets/data/flights-20k.json" "$cache/data/flights.tsv"
  stamp data "$here/node/data/package.json"
}

part_python() {
  apt_get python3 python3 python3-venv
  local req=$here/python/requirements.txt
  fresh python "$req" && return
  say "python: $(paste -sd' ' "$req")"
  rm -rf "$cache/python"
  python3 -m venv "$cache/python" >"$cache/pip.log" 2>&1 ||
    { [ "$(id -u)" != 0 ] || apt-get install -y -qq python3-venv >/dev/null; python3 -m venv "$cache/python"; }
  "$cache/python/bin/pip" install -q -r "$req" >>"$cache/pip.log" 2>&1 </dev/null || { tail -5 "$cache/pip.log" >&2; return 1; }
  stamp python "$req"
}

part_kaskade() {
  apt_get python3 python3 python3-venv
  local req=$here/python/kaskade.txt
  fresh kaskade "$req" && return
  say "kaskade: $(paste -sd' ' "$req")"
  rm -rf "$cache/kaskade"
  python3 -m venv "$cache/kaskade"
  "$cache/kaskade/bin/pip" install -q -r "$req" >"$cache/pip-kaskade.log" 2>&1 </dev/null ||
    { tail -5 "$cache/pip-kaskade.log" >&2; return 1; }
  stamp kaskade "$req"
}

part_node() {
  apt_get node nodejs
  apt_get npm npm
  # Programs look for their modules beside themselves.
  mkdir -p "$cache/node"
  cp "$here"/node/*.js "$cache/node/"
  fresh node "$here/node/package.json" && return
  say "node: $(cd "$here/node" && node -p 'Object.entries(require("./package.json").dependencies).map(e => e.join("@")).join(" ")')"
  rm -rf "$cache/node/node_modules"
  cp "$here/node/package.json" "$cache/node/"
  # The newest clients need a newer node than a stable Debian has: node itself comes from npm too.
  local arch
  arch=$(node -p 'process.platform + "-" + process.arch')
  (cd "$cache/node" && npm install --no-package-lock --no-audit --no-fund --no-save --silent "node-$arch@$node_version" </dev/null)
  ln -sf "node_modules/node-$arch/bin/node" "$cache/node/node"
  stamp node "$here/node/package.json"
}

part_go() {
  local files=("$here"/goclients/*.go "$here"/goclients/go.mod)
  fresh go "${files[@]}" && return
  say "go: franz-go, sarama, segmentio/kafka-go"
  (cd "$here/goclients" && CGO_ENABLED=0 go build -o "$cache/goclients" .)
  stamp go "${files[@]}"
}

part_kcat() { apt_get kcat kcat; }

part_rust() {
  apt_get cargo cargo
  apt_get cc gcc
  apt_get make make
  local files=("$here"/rust/Cargo.toml "$here"/rust/src/*.rs)
  fresh rust "${files[@]}" && return
  say "rust: rdkafka (builds librdkafka, takes minutes)"
  mkdir -p "$cache/rust/src"
  cp "$here/rust/Cargo.toml" "$cache/rust/"
  cp "$here"/rust/src/*.rs "$cache/rust/src/"
  (cd "$cache/rust" && cargo build --release --quiet </dev/null)
  stamp rust "${files[@]}"
}

[ $# -gt 0 ] || { sed -n '2,7p' "${BASH_SOURCE[0]}" | cut -c3-; exit 2; }
for part in "$@"; do
  case $part in
    all) for p in java data python node go kcat kaskade; do "part_$p"; done ;;
    java | data | python | node | go | kcat | rust | kaskade) "part_$part" ;;
    *) say "unknown part $part"; exit 2 ;;
  esac
done

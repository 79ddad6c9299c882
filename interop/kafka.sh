#!/usr/bin/env bash
# Starts one node of Apache Kafka from its Maven artifacts: the reference that logstead is compared with.
#
#   kafka.sh start DIR PORT     format DIR, start a node that listens on 127.0.0.1:PORT, wait until it answers
#   kafka.sh restart DIR PORT   start it again on what DIR holds
#   kafka.sh adopt DIR PORT     start a node on what another broker left in DIR/data
#   kafka.sh stop DIR           stop it cleanly
#   kafka.sh kill DIR           kill -9
#   kafka.sh tool CLASS ARG...  run one of Kafka's Java tools
#   kafka.sh exec FILE          become a node with the properties of FILE, formatted before, and a heap of KAFKA_HEAP (768m)
#   kafka.sh classpath          print the class path
#
# KAFKA_EXTRA may name a file of further server properties. The node listens for its controller on PORT+1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/logstead-interop}
[ -s "$cache/java/kafka.cp" ] || "$here/setup.sh" java
classpath=$(cat "$cache/java/kafka.cp")
quiet=-Dorg.slf4j.simpleLogger.defaultLogLevel=warn

write_properties() {
  local dir=$1 port=$2
  cat >"$dir/server.properties" <<E
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
E
  [ -z "${KAFKA_EXTRA:-}" ] || cat "$KAFKA_EXTRA" >>"$dir/server.properties"
}

run() {
  local dir=$1 port=$2 n=0
  setsid java -Xms256m -Xmx1G -XX:+UseG1GC -XX:MaxGCPauseMillis=20 $quiet -cp "$classpath" kafka.Kafka \
    "$dir/server.properties" >>"$dir/server.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null && [ $n -lt 3000 ] || { tail -5 "$dir/server.log" >&2; return 1; }
    sleep 0.1
    n=$((n + 1))
  done
  echo "127.0.0.1:$port"
}

# end DIR SIGNAL: signals the node and waits until it is gone.
end() {
  local dir=$1 pid
  [ -e "$dir/pid" ] || return 0
  pid=$(cat "$dir/pid")
  kill "-$2" "$pid" 2>/dev/null || true
  for _ in $(seq 1200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

case ${1:-} in
  start)
    mkdir -p "$2"
    write_properties "$2" "$3"
    java $quiet -cp "$classpath" kafka.tools.StorageTool format -t bG9nc3RlYWQtaW50ZXJvcA -c "$2/server.properties" \
      >>"$2/server.log" 2>&1
    run "$2" "$3"
    ;;
  restart) run "$2" "$3" ;;
  adopt)
    write_properties "$2" "$3"
    run "$2" "$3"
    ;;
  stop) end "$2" TERM ;;
  kill) end "$2" KILL ;;
  tool) shift; exec java $quiet -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$classpath" "$@" ;;
  exec) exec java -Xms256m "-Xmx${KAFKA_HEAP:-768m}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 $quiet -cp "$classpath" kafka.Kafka "$2" ;;
  classpath) echo "$classpath" ;;
  *) sed -n '2,13p' "${BASH_SOURCE[0]}" | cut -c3-; exit 2 ;;
esac

# What people and .ci/run call. Every target works on a fresh machine with Go; the suites install the rest.
.PHONY: build test check fuzz race interop interop-long interop3 diff model chaos teeth hostile fault bench bench-cluster profile generate sim soak

build:            ## the binary, in ./bin
	go build -trimpath -ldflags "-s -w" -o bin/logstead ./cmd/logstead

test:             ## all tests, no services needed
	go test ./...

race:             ## the concurrent packages with the race detector
	go test -race ./internal/broker/... ./internal/storage ./internal/node ./internal/cluster/...

check:            ## format, vet, import layers, generated files, other systems
	bash .ci/run checks
	go test ./internal/archtest ./internal/conf ./internal/node -run 'Arch|Doc|Fresh'

fuzz:             ## every fuzz target for half a minute
	bash .ci/fuzz 30s

sim:              ## thousands of histories of a cluster in one process
	go test ./internal/sim -count=1 -run TestSeeds -seeds 2000

interop:          ## real clients of seven languages against logstead
	go run ./interop

interop3:         ## the same against three nodes, with three replicas of everything
	go run ./interop -nodes 3

interop-long:     ## with MirrorMaker 2, kaskade and the Rust client
	go run ./interop -long

diff:             ## every answer beside Apache Kafka's
	go run ./interop/diff

model:            ## random histories against a model: Apache Kafka beside
	go run ./interop/model

chaos:            ## a cluster of processes in network namespaces, broken in every way
	go run ./interop/chaos

teeth:            ## builds that are broken on purpose, each of which a suite must catch
	go run ./interop/teeth

hostile:          ## malformed frames, bombs, slow and many connections
	go run ./interop/hostile

fault:            ## kill -9, power cuts, flipped bits, full and broken volumes
	go run ./interop/fault

bench:            ## logstead beside Apache Kafka, into bench/RESULTS.md
	go run ./bench/compare

bench-cluster:    ## three nodes of logstead beside three of Apache Kafka, into bench/CLUSTER.md
	go run ./bench/compare -nodes 3

profile:          ## where the CPU goes under the four main loads, by Go's profiler; files in ./profiles
	go run ./bench/compare -pprof profiles -rounds 1 -rivals fsync,replicated \
		-only '^(produce/none/64KiB|produce/none/1KiB|consume/cache/64KiB|small/acks=all/64conns)$$'

generate:         ## what is made from tables and from Kafka's message definitions
	go generate ./...
	go test ./internal/node -run MetricsDoc -update

soak:             ## the long forms
	go test ./internal/sim -count=1 -run TestSeeds -seed 10000 -seeds 20000 -timeout 2h
	go run ./interop -long
	go run ./interop/hostile -long
	go run ./interop/model -seeds 40 -ops 1000
	go run ./interop/fault -rounds 100
	go run ./interop/chaos -nodes 5 -duration 48m
	go run ./interop/chaos -nodes 5 -duration 24m -secure

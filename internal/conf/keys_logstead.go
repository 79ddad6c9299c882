package conf

const (
	docDurability = "What acknowledged means: fsync is on stable storage of the in-sync replicas, replicated is in " +
		"their memory, as in Apache Kafka."
	docValidation = "How deep a produced batch is checked: full is every record, header is the batch header and " +
		"checksum, sampled is header plus a share of the compressed batches."
)

// logsteadKeys are logstead's own broker keys; Kafka has none that begin with logstead.
var logsteadKeys = []row{
	{"logstead.auto.format", Boolean, "false", anyValue, ReadOnly, Medium, Honoured,
		"Format an empty data directory at the start instead of refusing it."},
	{"logstead.balance.enable", Boolean, "false", anyValue, ClusterWide, High, Honoured,
		"Let the active controller move replicas and preferred leaders so that brokers carry the same; off as in Apache " +
			"Kafka, which never moves a replica by itself."},
	{"logstead.balance.exclude.topics", List, "", distinct, ClusterWide, Medium, Honoured,
		"Topics that are left where they are: names, or patterns with * and ?."},
	{"logstead.balance.goals", List, "disk,bytes-in,bytes-out,count,leaders",
		someOf("disk", "bytes-in", "bytes-out", "count", "leaders"), ClusterWide, Medium, Honoured,
		"What brokers are to have the same of."},
	{"logstead.balance.interval.ms", Long, "60000", atLeast(100), ClusterWide, Medium, Honoured,
		"Pause before a cluster that was found even, or could not be balanced, is looked at again."},
	{"logstead.balance.max.moves", Int, "5", between(1, 1000), ClusterWide, Medium, Honoured,
		"Most partitions that balancing copies at a time."},
	{"logstead.balance.min.gain.percent", Int, "5", between(0, 100), ClusterWide, Medium, Honoured,
		"Least improvement of a move: for each percent of a broker's load that it shifts, the two brokers must come so many " +
			"hundredths of that nearer to each other."},
	{"logstead.balance.report.interval.ms", Long, "30000", atLeast(100), ReadOnly, Low, Honoured,
		"How often a broker tells the active controller what its partitions carry."},
	{"logstead.balance.throttle.bytes.per.second", Long, "52428800", atLeast(0), ClusterWide, Medium, Honoured,
		"Bytes a second that a broker may send and receive for balancing, by Kafka's replication throttles; 0 sets none."},
	{"logstead.balance.throttled", List, "", distinct, ClusterWide, Hidden, Honoured,
		"The topics and brokers that balancing has throttled, as the controller notes it; not to be set."},
	{"logstead.balance.tolerance.percent", Int, "10", between(1, 100), ClusterWide, Medium, Honoured,
		"How far from the mean a broker may be."},
	{"logstead.broker.suspect.timeout.ms", Int, "500", atLeast(1), ReadOnly, Medium, Honoured,
		"A broker whose connection to the controller broke is fenced if it sends no heartbeat for this long; " +
			"broker.session.timeout.ms, if that ends earlier."},
	{"logstead.connection.budget.bytes", Long, "134217728", atLeast(1048576), ReadOnly, Medium, Honoured,
		"Bytes of requests and answers that one connection may have in flight before it is read no further."},
	{"logstead.durability", String, "fsync", oneOf("fsync", "replicated"), ClusterWide, High, Honoured, docDurability},
	{"logstead.http.listeners", List, "127.0.0.1:9644", distinct, ReadOnly, High, Honoured,
		"Addresses of the HTTP port with health and metrics: host:port,...; empty is no HTTP port."},
	{"logstead.http.pprof", Boolean, "false", anyValue, ReadOnly, Low, Honoured,
		"Serve Go's profiles below /debug/pprof/ on the HTTP port: for finding out where time and memory go."},
	{"logstead.journal.file.bytes", Int, "67108864", between(1048576, 1073741824), ReadOnly, Low, Honoured,
		"Size of one file of the journal that groups syncs."},
	{"logstead.journal.direct.bytes", Int, "262144", atLeast(4096), ReadOnly, Low, Honoured,
		"From this many bytes in one batch, or three times as many in what a follower appends at once, the segment is synced directly, without the journal."},
	{"logstead.log.format", String, "auto", oneOf("auto", "text", "json"), ReadOnly, Medium, Honoured,
		"Format of the log: text, json, or auto, which is text on a terminal and json elsewhere."},
	{"logstead.log.level", String, "info", oneOf("debug", "info", "warn", "error"), ReadOnly, Medium, Honoured,
		"Lowest level that is logged; changed while running through the broker loggers."},
	{"logstead.max.open.files", Int, "0", atLeast(0), ReadOnly, Medium, Honoured,
		"Most segment files open at a time; 0 is half of what the system allows the process."},
	{"logstead.memory.budget.bytes", Long, "0", atLeast(0), ReadOnly, High, Honoured,
		"Memory for requests and answers of all connections together; 0 is a quarter of the machine's."},
	{"logstead.sasl.handshake.timeout.ms", Int, "30000", atLeast(0), ReadOnly, Low, Honoured,
		"How long a client of a SASL listener may take to log in before its connection is closed; 0 is no limit, as in Kafka."},
	{"logstead.scrub.bytes.per.second", Long, "4194304", atLeast(0), ReadOnly, Low, Honoured,
		"Most bytes a second that the scrubber reads in search of damage; 0 is no bound."},
	{"logstead.scrub.interval.ms", Long, "604800000", atLeast(0), ReadOnly, Low, Honoured,
		"Pause between two passes of the scrubber over all logs; 0 is no scrubbing."},
	{"logstead.shutdown.timeout.ms", Long, "30000", atLeast(0), ReadOnly, Medium, Honoured,
		"How long a stop waits for connections to finish what they began."},
	{"logstead.tls.handshake.timeout.ms", Int, "10000", atLeast(100), ReadOnly, Low, Honoured,
		"How long a client may take for a TLS handshake; a tenth of it where half of logstead.tls.max.handshakes is taken."},
	{"logstead.tls.max.handshakes", Int, "1024", atLeast(1), ReadOnly, Low, Honoured,
		"Most TLS handshakes that run at a time; encrypted listeners accept no more until one has ended."},
	{"logstead.validation", String, "sampled", oneOf("full", "header", "sampled"), ClusterWide, Medium, Honoured,
		docValidation},
}

// logsteadTopicKeys are logstead's own topic keys.
var logsteadTopicKeys = []row{
	{"logstead.durability", String, "fsync", oneOf("fsync", "replicated"), ClusterWide, Medium, Honoured, docDurability},
	{"logstead.validation", String, "sampled", oneOf("full", "header", "sampled"), ClusterWide, Medium, Honoured,
		docValidation},
}

package cli

// explanation says in our own words why a broker answers with an error, and what to do.
type explanation struct {
	Cause string
	Try   string
}

// explanations by Kafka error code. Codes that only brokers see among themselves say so.
var explanations = map[int16]explanation{
	-1: {"the broker met an error that it has no name for", "read the broker's log at the time of the request"},
	1: {
		"the offset asked for is below the first or above the last one in the log, often because retention " +
			"removed it",
		"start from an offset in the range (logstead topic describe), or set auto.offset.reset",
	},
	2: {
		"the record batch is damaged, too large, or has no key on a compacted topic",
		"give every record a key on a topic with cleanup.policy=compact; otherwise suspect the network or " +
			"the client library",
	},
	3: {
		"the topic or partition does not exist on this cluster, or may not be seen",
		"check the name with logstead topic list; create it with logstead topic create",
	},
	4: {
		"the fetch asked for a nonsensical number of bytes",
		"set fetch.max.bytes and max.partition.fetch.bytes to positive values",
	},
	5: {
		"the partition has no leader at the moment: an election is going on, or all its copies are down",
		"wait and retry; logstead cluster health names partitions without a leader",
	},
	6: {
		"the request reached a broker that no longer leads the partition",
		"clients refresh their metadata and retry by themselves; if it stays, look at logstead cluster " +
			"health",
	},
	7: {
		"the broker did not finish in time, for acks=all often because in-sync copies are slow",
		"raise --timeout (request.timeout.ms) and look at logstead cluster health",
	},
	8: {"the broker is not running or not reachable", "logstead cluster info, logstead doctor"},
	9: {
		"the copy asked for is not on this broker or is behind",
		"clients retry by themselves; look at logstead cluster health",
	},
	10: {
		"the batch is larger than the topic's max.message.bytes (or the broker's message.max.bytes)",
		"smaller records, compression, a smaller batch.size, or logstead topic alter TOPIC --set " +
			"max.message.bytes=N",
	},
	11: {"a controller that has been replaced tried to act; brokers only", "nothing, if it does not repeat"},
	12: {"the text stored with a committed offset is longer than offset.metadata.max.bytes", "commit less metadata"},
	13: {
		"the connection broke before the answer came",
		"retry; if it repeats, look for restarts, idle time-outs or a proxy in between",
	},
	14: {
		"the coordinator of the group or transaction has just moved and is still loading its state",
		"wait a few seconds; clients retry by themselves",
	},
	15: {
		"no broker can act as coordinator: its internal topic has no leader or cannot be created",
		"logstead cluster health; with fewer brokers than copies set offsets.topic.replication.factor to 1",
	},
	16: {
		"the request reached a broker that is not the coordinator any more",
		"clients find the new one by themselves",
	},
	17: {
		"the topic name is not allowed, or the topic is internal",
		"use up to 249 of the characters a-z A-Z 0-9 . _ -, and not \".\" or \"..\"",
	},
	18: {
		"the batch is larger than one segment of the log",
		"a smaller batch, or a larger segment.bytes on the topic",
	},
	19: {
		"fewer copies are in sync than min.insync.replicas asks for, so the write was refused",
		"bring the missing brokers back (logstead cluster health), or lower min.insync.replicas",
	},
	20: {
		"the record was written, but too few copies had it in time: it may or may not survive",
		"an idempotent producer retries safely; bring the missing brokers back",
	},
	21: {"acks must be -1 (all), 0 or 1", "set acks to all, 1 or 0"},
	22: {
		"the member speaks for a generation of the group that is over",
		"the consumer was too slow or paused: it must rejoin; raise max.poll.interval.ms if it repeats",
	},
	23: {
		"the members of the group have no assignment strategy in common",
		"give all members the same partition.assignment.strategy, changing it in two rolling steps",
	},
	24: {"the group name is empty or not allowed", "set group.id"},
	25: {
		"the coordinator does not know this member: its session ran out or the group was deleted",
		"clients rejoin by themselves; raise session.timeout.ms or poll more often if it repeats",
	},
	26: {
		"session.timeout.ms is outside what the broker allows",
		"choose a value between group.min.session.timeout.ms and group.max.session.timeout.ms",
	},
	27: {
		"members are joining or leaving; partitions are being handed out again",
		"clients rejoin by themselves; frequent rebalances point to members that come and go",
	},
	28: {
		"the commit holds more than the broker stores in one go",
		"commit fewer partitions or less metadata at a time",
	},
	29: {
		"the user may not do this with the topic",
		"ask for the right on the topic (logstead acl); check who you are with logstead ctx show",
	},
	30: {"the user may not do this with the group", "ask for the right on the group, usually READ"},
	31: {"the user may not do this with the cluster", "ask for the right on the cluster"},
	32: {
		"the record's timestamp is too far from the broker's clock",
		"correct the clock, or raise message.timestamp.before.max.ms / message.timestamp.after.max.ms",
	},
	33: {
		"the broker does not offer this SASL mechanism on this listener",
		"use one that it offers; logstead doctor lists them",
	},
	34: {
		"requests came in the wrong order for the listener's security protocol",
		"set security.protocol (SASL_PLAINTEXT or SASL_SSL) as the listener needs it",
	},
	35: {
		"the broker does not know the request, or not in this version",
		"upgrade the older side; logstead cluster api-versions lists what the broker speaks",
	},
	36: {
		"a topic of this name exists already, or is still being deleted",
		"use it, choose another name, or --if-not-exists",
	},
	37: {
		"the number of partitions must be at least 1, and can only grow",
		"-p with a number above zero; partitions cannot be removed",
	},
	38: {
		"there are fewer brokers than copies asked for",
		"-r with at most the number of brokers (logstead cluster info)",
	},
	39: {"the list of brokers for a partition is not usable", "name each broker once, and only brokers that exist"},
	40: {
		"a setting has a value that is not allowed, or does not exist",
		"logstead config get KIND NAME --all lists settings and values",
	},
	41: {"the request must go to the controller, and this broker is not it", "clients find it by themselves"},
	42: {
		"the request contradicts itself or is malformed",
		"the broker's message says what; otherwise upgrade the client library",
	},
	43: {"the log is stored in an older format that cannot hold this", "upgrade the topic's message format"},
	44: {"a policy of the cluster's operator forbids these values", "the broker's message names the rule"},
	45: {
		"a batch of an idempotent producer is missing before this one: something was lost in between",
		"the producer must start afresh; check for records dropped by a time-out on the client",
	},
	46: {"the broker has this batch already", "nothing: the record is stored once"},
	47: {
		"a newer producer with the same transactional id has taken over",
		"stop the other instance, or give each its own transactional.id",
	},
	48: {
		"the step does not fit the state of the transaction",
		"abort the transaction and begin anew; logstead txn describe ID shows its state",
	},
	49: {"the producer id belongs to another transactional id, or has expired", "the producer must start afresh"},
	50: {
		"transaction.timeout.ms is larger than the broker allows",
		"lower it, or raise transaction.max.timeout.ms on the broker",
	},
	51: {"the previous step of the same transaction is still being finished", "clients wait and retry by themselves"},
	52: {
		"a transaction coordinator that has been replaced tried to act; brokers only",
		"nothing, if it does not repeat",
	},
	53: {"the user may not use this transactional id", "ask for WRITE and DESCRIBE on the transactional id"},
	54: {
		"the cluster has no authorizer, so access rights do not exist on it",
		"configure authorizer.class.name on the brokers",
	},
	55: {
		"the broker skipped the item because another one in the same request failed",
		"correct the failing item and send the rest again",
	},
	56: {
		"a disk failed or a log directory is offline",
		"read the broker's log; logstead cluster health; replace the disk",
	},
	57: {"the directory is not one of the broker's log.dirs", "use a path from log.dirs as the broker writes it"},
	58: {
		"the login failed: wrong user name, password or mechanism",
		"check sasl.username, sasl.password and sasl.mechanism",
	},
	59: {
		"the broker has forgotten this producer, because its records have expired",
		"clients start a new sequence by themselves",
	},
	60: {"the partition is already being moved", "wait for it to finish, or cancel it first"},
	61: {"delegation tokens are not configured on the brokers", "set delegation.token.secret.key"},
	62: {"the delegation token does not exist or has expired", "create a new one"},
	63: {"only the owner or a renewer may do this with the token", "log in as one of them"},
	64: {"tokens can only be requested over an authenticated, encrypted connection", "log in with SASL over TLS"},
	65: {"the user may not do this with the token", "ask for the right on the token"},
	66: {"the delegation token has run out", "create a new one"},
	67: {"the principal has a type that is not supported", "use User:NAME"},
	68: {"the group has running members", "stop them first; logstead group describe GROUP lists them"},
	69: {"the group does not exist", "check the name with logstead group list"},
	70: {"the broker has dropped this fetch session to make room", "clients open a new one by themselves"},
	71: {"fetch requests of one session came out of order", "clients open a new session by themselves"},
	72: {
		"the leader has no listener of the name that the client connected to",
		"give every broker the same listener names",
	},
	73: {"the brokers are configured not to delete topics", "set delete.topic.enable=true"},
	74: {"the client knows an older leader than the broker", "clients refresh their metadata and retry"},
	75: {"the client knows a newer leader than the broker does yet", "clients retry by themselves"},
	76: {
		"the client is too old for the codec of the stored records",
		"upgrade the client, or use another compression.type",
	},
	77: {"a broker restarted and its old self tried to act; brokers only", "nothing, if it does not repeat"},
	78: {"the new leader does not yet know what is committed", "clients retry by themselves"},
	79: {"the member must join again with the id that the coordinator gave it", "clients do so by themselves"},
	80: {"the preferred leader of the partition is not running or not in sync", "bring its broker back"},
	81: {"the group has as many members as group.max.size allows", "run fewer members, or raise group.max.size"},
	82: {
		"another consumer with the same group.instance.id has taken its place",
		"give each instance its own group.instance.id",
	},
	83: {"no copy that may lead is running", "bring a broker with a copy back"},
	84: {"the wanted broker leads already", "nothing to do"},
	85: {"the partition is not being moved", "nothing to cancel"},
	86: {
		"the group is reading the topic at the moment, so its place there cannot be deleted",
		"stop its members, or unsubscribe from the topic",
	},
	87: {
		"the broker refused a record as invalid; its message names the record and the reason",
		"correct that record: keys on compacted topics, timestamps, sizes",
	},
	88: {
		"a transaction that commits offsets of this group is still open",
		"clients retry by themselves; logstead txn list shows open transactions",
	},
	89: {"a quota was exceeded", "slow down; logstead cluster quotas lists limits"},
	90: {
		"a newer producer with the same transactional id has taken over",
		"stop the other instance, or give each its own transactional.id",
	},
	91: {"the thing named in the request does not exist", "check the name"},
	92: {"the request names the same thing twice", "name each thing once"},
	93: {"the credential does not meet the broker's demands", "more iterations or a longer password"},
	94: {
		"sender and receiver disagree on the set of voters; controllers only",
		"check controller.quorum.voters on all nodes",
	},
	95: {
		"the feature level is not one that all brokers support",
		"logstead cluster features lists the ranges; upgrade all brokers first",
	},
	96: {"the feature levels could not be stored", "read the controller's log"},
	97: {
		"a forwarded request carried a principal that cannot be read; brokers only",
		"use the same principal.builder.class on all brokers",
	},
	98: {
		"the metadata snapshot asked for has been replaced by a newer one; controllers only",
		"nothing, if it does not repeat",
	},
	99: {"a read beyond the end of a metadata snapshot; controllers only", "nothing, if it does not repeat"},
	100: {
		"no topic has this id: it was deleted, and perhaps created again under the same name",
		"clients refresh their metadata; restart those that do not",
	},
	101: {"another broker with the same node.id is running", "give each broker its own node.id"},
	102: {"the controller does not know a broker of this id", "check the id with logstead cluster info"},
	103: {
		"the topic was deleted and created again; the log is of the old one",
		"clients refresh their metadata and retry",
	},
	104: {
		"the node belongs to another cluster",
		"check the data directory's meta.properties and the controller's address",
	},
	105: {"no transaction of this id is known", "check the id with logstead txn list"},
	106: {"a fetch session mixed topic ids and names", "clients open a new session by themselves"},
	107: {
		"a copy that is down or being shut down cannot join the in-sync set; brokers only",
		"nothing, if it does not repeat",
	},
	108: {
		"the leader changed while the in-sync set was being changed; brokers only",
		"nothing, if it does not repeat",
	},
	109: {"the offset has moved to tiered storage", "upgrade the client"},
	110: {
		"the member's epoch is over: the group has given its partitions to others",
		"clients rejoin by themselves; poll more often if it repeats",
	},
	111: {"a member with the same group.instance.id has not left yet", "wait for its session to end, or stop it"},
	112: {"the broker does not have this server-side assignor", "set group.remote.assignor to uniform or range"},
	113: {"the member must learn its new epoch with a heartbeat first", "clients retry by themselves"},
	114: {
		"the address is of a controller where a broker is needed, or the other way round",
		"use the brokers' address, not the controllers'",
	},
	115: {"this kind of endpoint is not supported", "use the brokers' address"},
	116: {"no controller of this id is known", "check controller.quorum.voters"},
	117: {"the client's telemetry subscription is out of date", "clients ask for a new one by themselves"},
	118: {"the telemetry report is larger than telemetry.max.bytes", "subscribe to fewer metrics"},
	119: {
		"the controller refused a broker's registration; its message says why",
		"check listeners, directories and versions of that broker",
	},
	120: {
		"the transaction cannot be committed any more, but can be aborted",
		"abort it and try again with the same producer",
	},
	121: {
		"the record of a share group is not in a state that allows this answer",
		"acknowledge each record once, before its lock ends",
	},
	122: {"the share session is not known", "clients open a new one by themselves"},
	123: {"requests of a share session came out of order", "clients open a new session by themselves"},
	124: {
		"the state of a share partition was written by a newer leader; brokers only",
		"nothing, if it does not repeat",
	},
	125: {"a voter's key does not match the one registered", "check the directory id of that controller"},
	126: {"the controller is a voter already", "nothing to do"},
	127: {"the controller is not a voter", "check the id with the cluster's quorum description"},
	128: {
		"the regular expression of a subscription is not valid",
		"the broker uses RE2 syntax: no look-around and no back-references",
	},
	129: {
		"the client's view of the cluster is too old to be mended",
		"clients start again from the bootstrap addresses",
	},
	130: {"the topology of a streams group is not valid", "the broker's message says why"},
	131: {"the streams topology is of an older epoch", "upgrade the remaining instances"},
	132: {"the streams member runs an older topology than the group", "upgrade this instance"},
	133: {"the broker holds as many share sessions as it may", "close some consumers, or raise the limit"},
	134: {"the group could not be deleted; its message says why", "logstead group describe GROUP"},
	135: {"the description of a streams topology could not be stored", "the broker's message says why"},
	136: {"the controller of this id is not registered", "check the id and that the controller runs"},
}

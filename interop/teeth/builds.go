package main

// edit replaces a text that stands exactly once in a file.
type edit struct{ file, from, to string }

// broken is a build that breaks one promise.
type broken struct {
	promise, name string
	edits         []edit
	suite         string
	command       string // without -count=1, which every run has
	words         string // what the failure must say, a regular expression
}

const (
	crashes     = "go test ./internal/storage -short -run TestCrashes"
	model       = "go test ./internal/storage -run TestModel -rapid.nofailfile -rapid.seed=7" // which of its checks fails first depends on the seed
	groups      = "go test ./internal/broker/group -run TestModel"
	txns        = "go test ./internal/broker/txn -run TestModel"
	replicas    = "go test ./internal/broker/partition"
	controllers = "go test ./internal/cluster/controller"
	// The index against a look at every entry; each API against the table of what it needs.
	acls          = "go test ./internal/broker/auth -run TestIndexProperty -rapid.nofailfile -rapid.seed=7"
	authorization = "go test ./internal/broker/api -run Authoriz"
	sim           = "go test ./internal/sim -run TestSeeds -seeds 300"
)

var builds = []broken{
	{
		promise: "acknowledged is on stable storage", name: "ack before sync",
		edits: []edit{{
			"internal/storage/commit.go",
			"\t\tl.direct = end\n\t\tl.dir.commits.add(l)\n",
			"\t\tl.direct = end\n\t\tl.raiseSynced(end, l.cuts.Load())\n\t\tl.dir.commits.add(l)\n",
		}},
		suite: "crash", command: crashes, words: `(?s)FAIL: TestCrashes/histories/.*(synced|acknowledged|acked|promised)`,
	},
	{
		promise: "acknowledged is on stable storage", name: "a lone append is not written",
		edits: []edit{{"internal/storage/settle.go", "\terr := j.writeUnit(u)\n", "\tvar err error\n"}},
		suite: "crash", command: crashes, words: `FAIL: TestCrashes/histories/`,
	},
	{
		promise: "acknowledged is on stable storage", name: "journal used again before the volume is synced",
		edits: []edit{{"internal/storage/together.go", "if err := j.volume.Sync(); err != nil {", "if err := error(nil); err != nil {"}},
		suite: "crash", command: crashes + " -count=6 -failfast", // whether a file is used again in time depends on the scheduler
		words: `FAIL: TestCrashes/histories/`,
	},
	{
		promise: "nothing is invented by recovery", name: "skip CRC in recovery",
		edits: []edit{{"internal/storage/recover.go", "return h, checkCRC(b), nil", "return h, nil, nil"}},
		suite: "crash", command: crashes, words: `FAIL: TestCrashes/histories/`,
	},
	{
		promise: "what is denied is denied", name: "DENY ignored for prefixed",
		edits: []edit{{
			"internal/broker/auth/acl_index.go",
			"\t\tl.at(t.prefixed[name[:n]])\n",
			"\t\tdeny := l.deny\n\t\tl.at(t.prefixed[name[:n]])\n\t\tl.deny = deny\n",
		}},
		suite: "access control", command: acls, words: `FAIL: TestIndexProperty(?s).*is true, want false`,
	},
	{
		promise: "what is denied is denied", name: "a forwarded request is its broker's",
		edits: []edit{{
			"internal/broker/api/58_envelope.go", "inner.Controller, inner.Principal = true, who", "inner.Controller, inner.Principal, _ = true, c.Conn.Principal, who",
		}},
		suite: "access control", command: authorization, words: `FAIL: TestEnvelopeAuthorizesItsClient`,
	},
	{
		promise: "what is denied is denied", name: "a handler does not ask",
		edits: []edit{{"internal/broker/api/61_describe_producers.go", "!c.mayTopic(auth.Read, in.Name)", "!c.mayTopic(auth.Read, in.Name) && false"}},
		suite: "access control", command: authorization, words: `FAIL: TestAuthorizationOfEveryAPI/DescribeProducers`,
	},
	{
		promise: "a retry is answered, not appended", name: "dedupe window of one",
		edits: []edit{{"internal/storage/producers.go", "const keptBatches = 5", "const keptBatches = 1"}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers(?s).*duplicate`,
	},
	{
		promise: "read_committed stops at the oldest open", name: "LSO ignores one producer",
		edits: []edit{{
			"internal/storage/producers.go",
			"\tif len(s.open) > 0 {\n\t\tfirst = s.open[0].first\n",
			"\tif len(s.open) > 1 {\n\t\tfirst = s.open[1].first\n",
		}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers(?s).*last stable offset`,
	},
	{
		promise: "read_committed sees no aborted record", name: "an aborted transaction not listed",
		edits: []edit{{"internal/storage/log.go", "if t.FirstOffset < to {", "if t.FirstOffset < to && t.FirstOffset >= from {"}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers(?s).*aborted`,
	},
	{
		promise: "compaction keeps the last value of a key", name: "compaction drops the last value",
		edits: []edit{{"internal/storage/clean_rule.go", "r.keys.get(rec.Key) > offset", "r.keys.get(rec.Key) >= offset"}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers(?s).*last record of key`,
	},
	{
		promise: "a tombstone outlives delete.retention.ms", name: "tombstone removed early",
		edits: []edit{{
			"internal/storage/clean_rule.go",
			"return !b.HasDeleteHorizon() || r.now < b.BaseTimestamp()", "return false",
		}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers(?s).*last record of key`,
	},
	{
		promise: "a read finds every record", name: "index entry off by one",
		edits: []edit{{"internal/storage/index.go", "append(x.offs, newOffsetEntry(rel, pos))", "append(x.offs, newOffsetEntry(rel-1, pos))"}},
		suite: "log model", command: model, words: `FAIL: TestModel(?s).*(read \d+ records|a range up to offset)`,
	},
	{
		promise: "the high watermark never moves back", name: "high watermark moves back",
		edits: []edit{
			{"internal/storage/log.go", "\tif hw <= l.hw.Load() {\n\t\treturn\n\t}\n\tl.mu.Lock()", "\tl.mu.Lock()"},
			{"internal/storage/log.go", "\tif hw <= l.hw.Load() {\n\t\treturn\n\t}\n\tl.hw.Store(hw)", "\tl.hw.Store(hw)"},
		},
		suite: "log model", command: model, words: `FAIL: TestModel(?s).*high watermark moved`,
	},
	{
		promise: "the names of new files survive", name: "missing directory sync",
		edits: []edit{{"internal/storage/commit.go", "if identity || names {\n\t\tif err := fsys.SyncDir(l.home())", "if identity && names {\n\t\tif err := fsys.SyncDir(l.home())"}},
		suite: "crash", command: crashes, words: `FAIL: TestCrashes/histories/`,
	},
	{
		promise: "commits never go back", name: "commit of an old generation taken",
		edits: []edit{{
			"internal/broker/group/commit.go",
			"if c.epoch != g.generation {\n\t\t\treturn fail(kerr.IllegalGeneration)", "if c.epoch > g.generation {\n\t\t\treturn fail(kerr.IllegalGeneration)",
		}},
		suite: "group model", command: groups, words: `the commit of .* went back`,
	},
	{
		promise: "commits never go back", name: "late transaction undoes a commit",
		edits: []edit{{
			"internal/broker/group/offsets.go",
			"apply && (now == nil || now.recorded < c.recorded)", "apply && (now == nil || now.recorded != c.recorded)",
		}},
		suite: "group model", command: groups, words: `the commit of .* went back`,
	},
	{
		promise: "offsets of a transaction: all or nothing", name: "offsets visible before commit",
		edits: []edit{{
			"internal/broker/group/offsets.go", "if txn.Transactional() {", "if txn.Transactional() && txn.ProducerID < 0 {",
		}},
		suite: "group model", command: groups, words: `only in transactions that did not commit`,
	},
	{
		promise: "one owner a partition", name: "double assignment",
		edits: []edit{{
			"internal/broker/group/reconcile.go", "taken && !mine {", "taken && !mine && r.targetEpoch < 0 {",
		}},
		suite: "group model", command: groups, words: `FAIL: TestModel(?s).*both have`,
	},
	{
		promise: "zombies are fenced", name: "EndTxn without epoch check",
		edits: []edit{
			{"internal/broker/txn/end_txn.go", "\tcase t.epoch != req.ProducerEpoch:\n\t\treturn kerr.ProducerFenced\n", ""},
			{"internal/broker/txn/end_txn.go", "\tcase Ongoing:\n\t\tif !current {\n\t\t\treturn kerr.ProducerFenced\n\t\t}\n\t\treturn nil\n", "\tcase Ongoing:\n\t\treturn nil\n"},
		},
		suite: "transaction model", command: txns, words: `FAIL: TestModel(?s).*zombie`,
	},
	{
		promise: "the decoder is bounded", name: "array count trusted",
		edits: []edit{
			{"internal/proto/kmsg/reader.go", "n > MaxElements || n > len(r.b)/minSize", "n > MaxElements"},
			{"internal/proto/kmsg/reader.go", "if !r.charge(n * int(unsafe.Sizeof(zero))) {", "if !r.charge(int(unsafe.Sizeof(zero))) {"},
		},
		suite: "codec", command: "go test ./internal/proto/kmsg -run TestHostileCounts", words: `FAIL: TestHostileCounts`,
	},
	{
		promise: "in-sync replicas are equal below the high watermark", name: "follower truncates by high watermark",
		edits: []edit{{
			"internal/broker/partition/role.go",
			"\tp.Log().Follow()\n\tp.mu.Unlock()\n\tif began {\n",
			"\tp.Log().Follow()\n\tp.mu.Unlock()\n\tif began {\n\t\t_ = p.Log().Truncate(p.Log().HighWatermark())\n",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(are committed|committed was)`,
	},
	{
		promise: "replicas have one history", name: "leader does not check the follower's last epoch",
		edits: []edit{{
			"internal/broker/partition/read.go", "return epoch, end, epoch < lastEpoch || end < offset, nil", "return epoch, end, false, nil",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(committed was|than elsewhere|are committed)`,
	},
	{
		promise: "acknowledged is on stable storage of the in-sync set", name: "follower reports what it has not synced",
		edits: []edit{{"internal/broker/partition/follower.go", "p.StoredOffset() >= end}", "true}"}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(are committed|committed was|OUT_OF_ORDER)`,
	},
	{
		promise: "one run of a broker leads a leader epoch", name: "a new run stays in sync",
		edits: []edit{{
			"internal/cluster/controller/broker_registration.go",
			"\t\trecords = m.leaveISRs(req.BrokerId, clean, dirGone)\n", "\t\t_ = clean\n",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(is led by|are committed|committed was)`,
	},
	{
		promise: "a reassignment ends when all that were added are in sync", name: "a reassignment ends early",
		edits: []edit{{
			"internal/cluster/controller/partition_change.go", "len(left) == 0 || !containsAll(left, c.adding) ||", "len(left) == 0 ||",
		}},
		suite: "simulator", command: sim + " -only reassigns", words: `FAIL: TestSeeds(?s).*new replicas were in sync`,
	},
	{
		promise: "a replica that lost its directory is not complete", name: "a lost directory leads",
		edits: []edit{{
			"internal/cluster/controller/assign_dirs.go", "if m.lostTheLast(p, id) && !", "if m == nil && !",
		}},
		suite: "simulator", command: sim + " -only disks", words: `FAIL: TestSeeds(?s).*are committed`,
	},
	{
		promise: "a replica that lost its directory is not complete", name: "a replica that may have been in it leads",
		edits: []edit{{
			"internal/cluster/controller/leaders.go", "u.dirGone && unplaced(p, id) {", "u.dirGone && unplaced(p, id) && m == nil {",
		}},
		suite: "controller", command: controllers, words: `FAIL: TestCluster/unplaced`,
	},
	{
		promise: "who may have lost something is not eligible to lead", name: "an unclean stop stays eligible",
		edits: []edit{{
			"internal/cluster/controller/broker_registration.go", "if clean || !m.elrEnabled() {", "if clean || !m.elrEnabled() || true {",
		}},
		suite: "simulator", command: "go test ./internal/sim -run TestSeeds -seeds 1000 -only lossy", words: `FAIL: TestSeeds(?s).*(are committed|committed was|OUT_OF_ORDER)`,
	},
	{
		promise: "a leader acknowledges what it wrote before a replica left", name: "an ack of an epoch before refused",
		edits: []edit{{
			"internal/broker/partition/waiters.go", "epoch < p.mu.repl.since || epoch > p.epoch.Load()", "p.epoch.Load() != epoch",
		}},
		suite: "simulator", command: sim + " -only reassigns", words: `FAIL: TestSeeds(?s).*no progress with a majority healed`,
	},
	{
		promise: "acknowledged is on stable storage of the in-sync set", name: "ack before sync, in a cluster",
		edits: []edit{{
			"internal/storage/commit.go",
			"\t\tl.direct = end\n\t\tl.dir.commits.add(l)\n",
			"\t\tl.direct = end\n\t\tl.raiseSynced(end, l.cuts.Load())\n\t\tl.dir.commits.add(l)\n",
		}},
		suite: "simulator", command: sim + " -seed 1501 -only disks", words: `FAIL: TestSeeds(?s).*(are committed|committed was|OUT_OF_ORDER)`,
	},
	{
		promise: "acknowledged is on every in-sync replica", name: "ack before replication",
		edits: []edit{{
			"internal/broker/partition/isr.go", "if m := &r.remotes[i]; r.counts(m.id) {", "if m := &r.remotes[i]; r.counts(m.id) && m.end < 0 {",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(are committed|committed was|OUT_OF_ORDER)`,
	},
	{
		promise: "a consumer reads what is committed, from a follower too", name: "a follower gives what is above its high watermark",
		edits: []edit{{
			"internal/broker/partition/read.go", "\tif r.ToEnd {\n", "\tif r.ToEnd || r.AnyReplica && !p.IsLeader() {\n",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(may read below|is not what is committed)`,
	},
	{
		promise: "a consumer reads what is committed, from a follower too", name: "a follower lists no aborted transaction",
		edits: []edit{{
			"internal/broker/partition/read.go",
			"\tif r.Isolation == ReadCommitted {\n\t\tres.Aborted", "\tif r.Isolation == ReadCommitted && p.IsLeader() {\n\t\tres.Aborted",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*left out as aborted`,
	},
	{
		promise: "a follower hears of the high watermark", name: "a session does not tell again what is named again",
		edits: []edit{{"internal/broker/api/fetch_session.go", "p.named = s.of.follower()", "p.named = false"}},
		suite: "requests", command: "go test ./internal/broker/api -run TestSessionTellsAgain", words: `FAIL: TestSessionTellsAgain`,
	},
	{
		promise: "a follower hears of the high watermark", name: "a high watermark is not marked",
		edits: []edit{{"internal/broker/partition/waiters.go", "\tp.marks.fire(raised)\n", ""}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*the replicas do not come to the same`,
	},
	{
		promise: "commits never go back", name: "commit of an old generation taken, in a cluster",
		edits: []edit{{
			"internal/broker/group/commit.go",
			"if c.epoch != g.generation {\n\t\t\treturn fail(kerr.IllegalGeneration)", "if c.epoch > g.generation {\n\t\t\treturn fail(kerr.IllegalGeneration)",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(has committed t-\d with epoch|went back|was acknowledged before it asked)`,
	},
	{
		promise: "one owner a partition", name: "double assignment, in a cluster",
		edits: []edit{{
			"internal/broker/group/reconcile.go", "taken && !mine {", "taken && !mine && r.targetEpoch < 0 {",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(it has not let go|has committed t-\d with epoch)`,
	},
	{
		promise: "a replica that was made anew is fetched", name: "a loop takes up what was let go last",
		edits: []edit{
			{
				"internal/broker/replica/course.go",
				"\tcase epoch == NoEpoch && c.changes[i].epoch != NoEpoch && c.changes[i].Replica != m.Replica:\n\t\treturn // another",
				"\tcase c.changes[i].Replica != m.Replica:\n\t\tc.at[k] = len(c.changes)\n\t\tc.changes = append(c.changes, change{m, epoch})\n\t\tc.urgent = c.urgent || epoch != NoEpoch\n\t\treturn // another",
			},
			{"internal/broker/replica/course.go", "range changes {", "range slices.Backward(changes) {"},
			{"internal/broker/replica/course.go", "w != nil && w.replica == c.Replica {", "w != nil {"},
			{"internal/broker/replica/course.go", "import (\n", "import (\n\t\"slices\"\n"},
		},
		suite: "simulator", command: sim + " -only reassigns", words: `FAIL: TestSeeds(?s).*(do not come to the same|no progress with a majority healed)`,
	},
	{
		promise: "a reassignment is taken back to who is there", name: "a reassignment is taken back to nobody",
		edits: []edit{{"internal/cluster/controller/reassign.go", "id == noLeader && len(c.isr) == 0 {", "id == noLeader && len(c.isr) < 0 {"}},
		suite: "controller", command: controllers, words: `FAIL: TestCluster/cancel_unclean`,
	},
	{
		promise: "only who has all leads, unless it is allowed otherwise", name: "an unclean election where none is allowed",
		edits: []edit{{
			"internal/cluster/controller/leaders.go", "\treturn m.config().Bool(key)\n", "\treturn !m.config().Bool(key)\n",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*which was neither in sync nor eligible`,
	},
	{
		promise: "the high watermark is one of its leader epoch", name: "high watermark ignores the epoch of fetches",
		edits: []edit{
			{"internal/broker/partition/role.go", "\t\tr.begin = p.Log().EndOffset()\n\t\tr.remotes = nil\n", "\t\tr.begin = p.Log().EndOffset()\n"},
			{
				"internal/broker/partition/role.go", "r.self, r.state, r.remotes, r.proposed = self, mp, nil, nil",
				"r.self, r.state, r.proposed = self, mp, nil",
			},
		},
		suite: "replicas", command: replicas, words: `FAIL: TestFetchesOfAnOldEpochDoNotCount`,
	},
	{
		promise: "a deposed leader changes nothing", name: "no ISR fencing: epochs unchecked",
		edits: []edit{
			{"internal/cluster/controller/alter_partition.go", "case a.LeaderEpoch < p.LeaderEpoch:", "case a.LeaderEpoch < 0:"},
			{"internal/cluster/controller/alter_partition.go", "case leader != p.Leader:", "case leader < 0:"},
			{"internal/cluster/controller/alter_partition.go", "case a.PartitionEpoch < p.PartitionEpoch:", "case a.PartitionEpoch < 0:"},
		},
		suite: "controller", command: controllers, words: `FAIL: TestCluster/isr`,
	},
	{
		promise: "a deposed leader changes nothing", name: "no ISR fencing: a leader shrinks its own",
		edits: []edit{{
			"internal/broker/partition/isr.go", "\tchange := p.proposalLocked(keep)\n\tp.mu.Unlock()\n",
			"\tchange := p.proposalLocked(keep)\n\tr.state.ISR = keep\n\tp.mu.Unlock()\n",
		}},
		suite: "simulator", command: sim, words: `FAIL: TestSeeds(?s).*(are committed|committed was|OUT_OF_ORDER)`,
	},
	{
		promise: "acknowledged is on every in-sync replica", name: "a proposed member is not waited for",
		edits: []edit{{
			"internal/broker/partition/isr.go", "slices.Contains(r.state.ISR, id) || slices.Contains(r.proposed, id)", "slices.Contains(r.state.ISR, id)",
		}},
		suite: "replicas", command: replicas, words: `was acknowledged there|FAIL: TestLostAnswer`,
	},
	{
		promise: "below min.insync.replicas nothing is committed, whoever has heard of it", name: "the answer makes an in-sync set smaller",
		edits: []edit{{"internal/broker/partition/isr.go", " && containsAll(s.ISR, r.state.ISR):", ":"}},
		suite: "replicas", command: replicas, words: `FAIL: TestAnswerDoesNotShrink`,
	},
	{
		promise: "a new run of a broker is another broker", name: "late fetch of an old broker epoch taken",
		edits: []edit{{"internal/broker/partition/isr.go", " || f.BrokerEpoch >= 0 && f.BrokerEpoch < m.epoch {", " {"}},
		suite: "replicas", command: replicas, words: `FAIL: TestLateFetchOfARestartedBroker`,
	},
	{
		promise: "a new run of a broker is another broker", name: "in-sync member of an old broker epoch taken",
		edits: []edit{{
			"internal/cluster/controller/alter_partition.go",
			"s.BrokerEpoch != -1 && m.image().Broker(s.BrokerId).Epoch != s.BrokerEpoch", "s.BrokerEpoch < -1",
		}},
		suite: "controller", command: controllers, words: `FAIL: TestCluster/isr`,
	},
	{
		promise: "a retry is answered, not appended", name: "producer state not rebuilt",
		edits: []edit{{
			"internal/storage/recover_txns.go", "l.replayLocked(l.prod.end, end, func", "l.replayLocked(end, end, func",
		}},
		suite: "log model", command: model, words: `FAIL: TestModelOfProducers`,
	},
	{
		promise: "acknowledged is on stable storage", name: "failed sync ignored",
		edits: []edit{{"internal/storage/commit.go", "if err = l.runSync(&p); err != nil {", "if err = l.runSync(&p); ranOut(err) {"}},
		suite: "storage faults", command: "go test ./internal/storage -run TestFailedWrite", words: `FAIL: TestFailedWrite`,
	},
	{
		promise: "nobody gets in by what was overheard", name: "SCRAM nonce unchecked",
		edits: []edit{{"internal/broker/auth/scram.go", "if final.nonce != e.nonce {", "if final.nonce == \"\" {"}},
		suite: "logins", command: "go test ./internal/broker/auth -run TestScramNonce", words: `FAIL: TestScramNonce(?s).*want it refused for its nonce`,
	},
	{
		promise: "a node without its directory is nobody", name: "a wiped controller votes under its old id",
		edits: []edit{
			{"internal/cluster/raft/stamp.go", "\t\treturn from == bound\n", "\t\treturn from == bound || true\n"},
			{"internal/cluster/raft/stamp.go", "!to.IsZero() && !self.IsZero() && to != self {", "!to.IsZero() && !self.IsZero() && to != self && c.founders != nil {"},
		},
		suite: "quorum", command: "go test ./internal/cluster/raft -run TestVoteOfAWipedNode",
		words: `FAIL: TestVoteOfAWipedNode(?s).*(leads with the vote of a node without its directory|has taken in|tocommit\(\d+\) is out of range)`,
	},
	{
		promise: "a node without its directory is nobody", name: "one that was added takes a founder's id",
		edits: []edit{{"internal/cluster/raft/upgrade.go", " && !c.store.mu.state.joiner {", " {"}},
		suite: "quorum", command: "go test ./internal/cluster/raft -run TestJoinerFromASnapshotBefore",
		words: `FAIL: TestJoinerFromASnapshotBefore`,
	},
	{
		promise: "a change of the quorum is answered when all have it", name: "an upgrade in a snapshot is taken to be stored",
		edits: []edit{{"internal/cluster/raft/upgrade.go", "p.EndOffset < c.upgradeEnd })", "p.EndOffset < c.upgradeEnd && p.EndOffset >= 0 })"}},
		suite: "quorum", command: "go test ./internal/cluster/raft -run TestSnapshotsAroundAnUpgrade", words: `FAIL: TestSnapshotsAroundAnUpgrade`,
	},
	{
		promise: "damage is found", name: "what was synced may be cut",
		edits: []edit{{"internal/cluster/raft/mark.go", "if alone || mark <= last {", "if alone || mark <= last || true {"}},
		suite: "quorum", command: "go test ./internal/cluster/raft -run TestDamageOfWhatWasSynced",
		words: `FAIL: TestDamageOfWhatWasSynced`,
	},
}

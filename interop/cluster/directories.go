package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// directorySteps are about the two log directories that each node has. They leave no topic behind.
var directorySteps = []step{
	{"log-dirs: two of each broker, each replica in one of them", eachInOne},
	{"reassign-partitions: log_dirs within brokers, at a rate of their own", withinBrokers},
	{"reassign-partitions: to another broker, into the directory of log_dirs", acrossBrokers},
	{"reassign-partitions: a directory that the broker does not have", noSuchDirectory},
	{"log_dirs: a move goes on after its broker was stopped, and killed", moveOutlives},
	{"log-dirs: a directory that fails, and is whole again", failedDirectory},
}

// toolPatience is how many milliseconds kafka-reassign-partitions may ask for a move until it has begun; by itself it gives up
// after ten seconds.
const toolPatience = "60000"

// dirsReport is what kafka-log-dirs prints.
type dirsReport struct {
	Brokers []struct {
		Broker  int
		LogDirs []struct {
			LogDir     string
			Error      *string
			Partitions []struct {
				Partition       string
				Size, OffsetLag int64
				IsFuture        bool
			}
		}
	}
}

// replicaDir is one replica in one log directory.
type replicaDir struct {
	broker, dir int // dir counts from 0
	partition   string
	future      bool
	size, lag   int64
}

// describeDirs runs kafka-log-dirs for a topic; failed are the directories with an error, as broker/dir error.
func (c *cluster) describeDirs(ctx context.Context, topic string) (found []replicaDir, failed []string, err error) {
	out, err := c.admin(ctx, logDirs, "--describe", "--topic-list", topic)
	if err != nil {
		return nil, nil, err
	}
	var report dirsReport
	if err := json.Unmarshal([]byte(out[max(0, strings.IndexByte(out, '{')):]), &report); err != nil {
		return nil, nil, fmt.Errorf("%w: %s", err, oneLine(out))
	}
	if len(report.Brokers) != c.Nodes() {
		return nil, nil, fmt.Errorf("want %d brokers: %s", c.Nodes(), oneLine(out))
	}
	for _, b := range report.Brokers {
		if len(b.LogDirs) != c.LogDirs {
			return nil, nil, fmt.Errorf("want %d directories of broker %d: %s", c.LogDirs, b.Broker, oneLine(out))
		}
		for _, d := range b.LogDirs {
			at := slices.Index(c.LogDirsOf(b.Broker), d.LogDir)
			if at < 0 {
				return nil, nil, fmt.Errorf("%s is no directory of broker %d", d.LogDir, b.Broker)
			}
			if d.Error != nil {
				failed = append(failed, fmt.Sprintf("%d/%d %s", b.Broker, at, *d.Error))
			}
			for _, p := range d.Partitions {
				found = append(found, replicaDir{b.Broker, at, p.Partition, p.IsFuture, p.Size, p.OffsetLag})
			}
		}
	}
	return found, failed, nil
}

// at is the directory in which a broker has a replica, and where it is on the way to, -1 where it is not.
func at(found []replicaDir, broker int, partition string) (dir int, future *replicaDir, err error) {
	dir = -1
	for i, r := range found {
		switch {
		case r.broker != broker || r.partition != partition:
		case r.future && future == nil:
			future = &found[i]
		case !r.future && dir < 0:
			dir = r.dir
		default:
			return -1, nil, fmt.Errorf("broker %d has %s twice: %+v", broker, partition, found)
		}
	}
	if dir < 0 {
		err = fmt.Errorf("broker %d has no %s: %+v", broker, partition, found)
	}
	return dir, future, err
}

// awaitDir waits until a broker has a replica in a directory, and in no other.
func (c *cluster) awaitDir(ctx context.Context, topic string, partition, broker, dir int) error {
	_, err := c.until(ctx, patience, func() (string, error) {
		found, _, err := c.describeDirs(ctx, topic)
		if err != nil {
			return "", err
		}
		now, future, err := at(found, broker, fmt.Sprintf("%s-%d", topic, partition))
		if err == nil && (now != dir || future != nil) {
			err = fmt.Errorf("want %s-%d of broker %d in directory %d alone: %+v", topic, partition, broker, dir, found)
		}
		return "", err
	})
	return err
}

func eachInOne(ctx context.Context, c *cluster) (string, error) {
	const topic, partitions = "shelves", 4
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", strings.Repeat("1:2:3,", partitions-1)+"1:2:3"); err != nil {
		return "", err
	}
	_, err := c.until(ctx, patience, func() (string, error) {
		found, failed, err := c.describeDirs(ctx, topic)
		if err != nil {
			return "", err
		}
		used := map[[2]int]bool{}
		for broker := 1; broker <= c.Nodes(); broker++ {
			for p := range partitions {
				dir, future, err := at(found, broker, fmt.Sprintf("%s-%d", topic, p))
				if err != nil || future != nil {
					return "", errors.Join(fmt.Errorf("%s-%d moves to %+v", topic, p, future), err)
				}
				used[[2]int{broker, dir}] = true
			}
		}
		if len(failed) > 0 || len(used) != c.Nodes()*c.LogDirs {
			err = fmt.Errorf("want replicas in all directories, and no error: %+v %v", found, failed)
		}
		return "", err
	})
	if err != nil {
		return "", err
	}
	unknown, err := c.admin(ctx, logDirs, "--describe", "--broker-list", "1,9")
	if err == nil {
		err = fmt.Errorf("broker 9 is described: %s", oneLine(unknown))
	}
	if !strings.Contains(unknown, "9") {
		return "", err
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return oneLine(unknown), err
}

// planned writes a plan of what placed makes.
func (c *cluster) planned(name string, parts ...string) (string, error) {
	file := filepath.Join(c.Dir, name+".json")
	return file, os.WriteFile(file, []byte(`{"version":1,"partitions":[`+strings.Join(parts, ",")+`]}`), 0o644)
}

// placed is a partition of a plan: brokers, and of each the directory by number, -1 for any.
func (c *cluster) placed(topic string, partition int, brokers, dirs []int) string {
	var paths []string
	for i, broker := range brokers {
		path := "any"
		if dirs[i] >= 0 {
			path = c.LogDirsOf(broker)[dirs[i]]
		}
		paths = append(paths, strconv.Quote(path))
	}
	return fmt.Sprintf(`{"topic":%q,"partition":%d,"replicas":[%s],"log_dirs":[%s]}`,
		topic, partition, strings.Trim(strings.ReplaceAll(fmt.Sprint(brokers), " ", ","), "[]"), strings.Join(paths, ","))
}

// moveRate is what brokers may move between their directories in a second, and returns when they go by it. An empty rate
// takes it off.
func (c *cluster) moveRate(ctx context.Context, adm *kadm.Client, rate string, brokers ...int32) error {
	const key = "replica.alter.log.dirs.io.max.bytes.per.second"
	change := kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &rate}
	if rate == "" {
		change.Op, change.Value = kadm.DeleteConfig, nil
	}
	if _, err := c.until(ctx, patience, func() (string, error) {
		resps, err := adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{change}, brokers...)
		for _, r := range resps {
			err = errors.Join(err, r.Err)
		}
		return "", err
	}); err != nil {
		return err
	}
	_, err := c.until(ctx, patience, func() (string, error) {
		described, err := adm.DescribeBrokerConfigs(ctx, brokers...) // each tells of itself
		for _, broker := range described {
			own := "" // of this broker alone
			for _, has := range broker.Configs {
				if has.Key == key && has.Source == kmsg.ConfigSourceDynamicBrokerConfig {
					own = has.MaybeValue()
				}
			}
			if err = errors.Join(err, broker.Err); err == nil && own != rate {
				err = fmt.Errorf("broker %s goes by a rate of %q, want %q", broker.Name, own, rate)
			}
		}
		return "", err
	})
	return err
}

// withinBrokers moves a leader's and a follower's replica to the other directory, slowly at first. Records come in
// meanwhile.
func withinBrokers(ctx context.Context, c *cluster) (said string, err error) {
	cl, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	n := 0
	err = c.goes(func(bool) (err error) {
		n++
		ctx, cancel := context.WithTimeout(ctx, stepLimit)
		defer cancel()
		said, err = c.movedWithin(ctx, cl, fmt.Sprint("moving", n))
		return err
	})
	return said, err
}

// movedWithin is one go of withinBrokers, with a topic of its own. Only that a move was over when it was looked at is no final error.
func (c *cluster) movedWithin(ctx context.Context, cl *kgo.Client, topic string) (string, error) {
	const slow = "500000"
	adm := kadm.NewClient(cl)
	if err := c.filled(ctx, cl, topic, "1:2"); err != nil {
		return "", &final{err}
	}
	found, _, err := c.describeDirs(ctx, topic)
	if err != nil {
		return "", &final{err}
	}
	var to []int
	for _, broker := range []int{1, 2} {
		dir, _, err := at(found, broker, topic+"-0")
		if err != nil {
			return "", &final{err}
		}
		to = append(to, 1-dir)
	}
	plan, err := c.planned(topic, c.placed(topic, 0, []int{1, 2}, to))
	if err != nil {
		return "", &final{err}
	}
	// The tool sets the rate and asks for the move right away, of which a broker may have heard first.
	if err := c.moveRate(ctx, adm, slow, 1, 2); err != nil {
		return "", &final{err}
	}
	said, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute", "--replica-alter-log-dirs-throttle", slow, "--timeout", toolPatience)
	if err != nil {
		return "", &final{err}
	}
	for i, broker := range []int{1, 2} {
		if _, err := has(said, nil, fmt.Sprintf("Successfully started moving log directory to %s for replica %s-0 with broker %d", c.LogDirsOf(broker)[to[i]], topic, broker)); err != nil {
			return "", &final{err}
		}
	}
	missed := c.underWay(ctx, topic, plan, to)
	for range 50 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, recordSize)}).FirstErr(); err != nil {
			return "", &final{err}
		}
	}
	if err := c.moveRate(ctx, adm, "100000000", 1, 2); err != nil {
		return "", &final{err}
	}
	if _, err := c.until(ctx, patience, func() (string, error) {
		return "", c.verified(ctx, plan, fmt.Sprintf("Reassignment of replica %s-0-1 completed successfully.", topic),
			fmt.Sprintf("Reassignment of replica %s-0-2 completed successfully.", topic), "Clearing broker-level throttles on brokers 1,2,3")
	}); err != nil {
		return "", &final{errors.Join(err, missed)}
	}
	for i, broker := range []int{1, 2} {
		if err := c.awaitDir(ctx, topic, 0, broker, to[i]); err != nil {
			return "", &final{errors.Join(err, missed)}
		}
	}
	whole, err := c.whole(ctx, topic, pacedBytes/recordSize+50)
	if err != nil {
		return "", &final{errors.Join(err, missed)}
	}
	return whole, missed
}

// verified wants texts in what the tool says of a plan.
func (c *cluster) verified(ctx context.Context, plan string, texts ...string) error {
	out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--verify")
	_, err = has(out, err, texts...)
	return err
}

// underWay wants the moves of a topic within brokers 1 and 2 to go on: at their rate they take longer than these looks at them.
func (c *cluster) underWay(ctx context.Context, topic, plan string, to []int) error {
	found, _, err := c.describeDirs(ctx, topic)
	if err != nil {
		return err
	}
	for i, broker := range []int{1, 2} {
		dir, future, err := at(found, broker, topic+"-0")
		if err != nil || dir != 1-to[i] || future == nil || future.dir != to[i] || future.lag <= 0 || future.size >= pacedBytes {
			return errors.Join(fmt.Errorf("broker %d does not move its replica to directory %d, with some of it there: %+v", broker, to[i], found), err)
		}
	}
	return c.verified(ctx, plan, fmt.Sprintf("Reassignment of replica %s-0-1 is still in progress.", topic),
		fmt.Sprintf("Reassignment of replica %s-0-2 is still in progress.", topic))
}

// whole reads a topic of so many records, each in its place, then deletes it.
func (c *cluster) whole(ctx context.Context, topic string, records int) (string, error) {
	cl, err := c.kgo(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	next := map[int32]int64{}
	for n := 0; n < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return "", fmt.Errorf("%d of %d records of %s: %w", n, records, topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				err = fmt.Errorf("%s-%d: offset %d comes after %d records", topic, r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			n++
		})
		if err != nil {
			return "", err
		}
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return fmt.Sprintf("%d records", records), err
}

// acrossBrokers gives four partitions a replica on a third broker, each in the directory that is named, of which that
// broker is told before the replica comes. Then all of a broker's replicas go into one directory of another.
func acrossBrokers(ctx context.Context, c *cluster) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	const topic, partitions = "across", 4
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", strings.Repeat("1:2,", partitions-1)+"1:2"); err != nil {
		return "", err
	}
	if err := c.known(ctx, topic, partitions); err != nil {
		return "", err
	}
	cl, err := c.kgo(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	for range 400 {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 1000)}, nil)
	}
	if err := cl.Flush(ctx); err != nil {
		return "", err
	}
	// Nobody has moved there yet: the broker takes note.
	var ask kadm.AlterReplicaLogDirsReq
	ask.Add(c.LogDirsOf(3)[1], kadm.TopicsSet{topic: {0: {}}})
	resps, err := kadm.NewClient(cl).AlterBrokerReplicaLogDirs(ctx, 3, ask)
	if err != nil {
		return "", err
	}
	for _, r := range resps.Sorted() {
		if !errors.Is(r.Err, kerr.ReplicaNotAvailable) {
			return "", fmt.Errorf("a directory for a replica that is to come: %w, want REPLICA_NOT_AVAILABLE", r.Err)
		}
	}
	var answers []string
	for i, plan := range []struct {
		brokers []int
		dirs    func(p int) []int
	}{
		{[]int{1, 3}, func(p int) []int { return []int{-1, p % 2} }},
		{[]int{3, 2}, func(p int) []int { return []int{1 - p%2, 1} }}, // of those that stay one may change its directory too
	} {
		var parts []string
		named := partitions * (i + 1) // replicas with a directory
		for p := range partitions {
			parts = append(parts, c.placed(topic, p, plan.brokers, plan.dirs(p)))
		}
		file, err := c.planned(fmt.Sprint(topic, i), parts...)
		if err != nil {
			return "", err
		}
		said, err := c.admin(ctx, reassign, "--reassignment-json-file", file, "--execute", "--timeout", toolPatience)
		if _, err = has(said, err, "Successfully started partition reassignments for across-0,across-1,across-2,across-3", "Successfully started moving log directory to "); err != nil {
			return "", err
		}
		verified, err := c.until(ctx, patience, func() (string, error) {
			out, err := c.admin(ctx, reassign, "--reassignment-json-file", file, "--verify")
			if err == nil && (strings.Count(out, "is completed.") != partitions || strings.Count(out, " completed successfully.") != named) {
				err = fmt.Errorf("not completed: %s", oneLine(out))
			}
			return oneLine(out), err
		})
		if err != nil {
			return "", err
		}
		for p := range partitions {
			for k, broker := range plan.brokers {
				if dir := plan.dirs(p)[k]; dir >= 0 {
					if err := c.awaitDir(ctx, topic, p, broker, dir); err != nil {
						return "", err
					}
				}
			}
		}
		answers = append(answers, verified)
	}
	read, err := c.whole(ctx, topic, 400)
	return strings.Join(append(answers, read), " "), err
}

// noSuchDirectory has the tool be told that there is none.
func noSuchDirectory(ctx context.Context, c *cluster) (string, error) {
	const topic = "nowhere"
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", "1"); err != nil {
		return "", err
	}
	if err := c.known(ctx, topic, 1); err != nil {
		return "", err
	}
	plan, err := c.planned(topic, fmt.Sprintf(`{"topic":%q,"partition":0,"replicas":[1],"log_dirs":["/no/such/dir"]}`, topic))
	if err != nil {
		return "", err
	}
	out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute")
	if err == nil || !strings.Contains(out, "LogDirNotFoundException") {
		return "", fmt.Errorf("want LogDirNotFoundException: %s (%w)", oneLine(out), err)
	}
	found := regexp.MustCompile(`\S+LogDirNotFoundException[^\n]*`).FindString(out)
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return found, err
}

// moveOutlives stops a broker in the middle of a move in order, then kills it: each time the move goes on when it is back.
func moveOutlives(ctx context.Context, c *cluster) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	const topic, broker = "lasting", 2
	cl, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if err := c.filled(ctx, cl, topic, "1:2"); err != nil {
		return "", err
	}
	found, _, err := c.describeDirs(ctx, topic)
	if err != nil {
		return "", err
	}
	from, _, err := at(found, broker, topic+"-0")
	if err != nil {
		return "", err
	}
	// At this rate it is not over before the broker is back the second time.
	if err := c.moveRate(ctx, adm, "250000", broker); err != nil {
		return "", err
	}
	plan, err := c.planned(topic, c.placed(topic, 0, []int{1, broker}, []int{-1, 1 - from}))
	if err != nil {
		return "", err
	}
	if _, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute", "--timeout", toolPatience); err != nil {
		return "", err
	}
	// underWay waits until some of the replica is in the other directory. All of it may be, on Apache Kafka: a broker that
	// comes back copies as fast as it can until it has heard of its rate.
	underWay := func() error {
		_, err := c.until(ctx, patience, func() (string, error) {
			dirs, err := adm.DescribeBrokerLogDirs(ctx, broker, kadm.TopicsSet{topic: {0: {}}})
			if err != nil {
				return "", err
			}
			for _, d := range dirs {
				p, ok := d.Topics.Lookup(topic, 0)
				if ok && d.Dir == c.LogDirsOf(broker)[1-from] && p.Size > 0 && (p.IsFuture || c.Kind == "kafka") {
					return "", nil
				}
			}
			return "", fmt.Errorf("no replica is on its way to %s: %+v", c.LogDirsOf(broker)[1-from], dirs)
		})
		return err
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Kill} {
		if err := underWay(); err != nil {
			return "", fmt.Errorf("before %v: %w", sig, err)
		}
		if err := errors.Join(c.End(broker, sig), c.Start(broker), c.Await(ctx, broker)); err != nil {
			return "", err
		}
	}
	if err := underWay(); err != nil {
		return "", fmt.Errorf("after kill -9: %w", err)
	}
	if _, err := c.until(ctx, patience, func() (string, error) { return "", c.moveRate(ctx, adm, "", broker) }); err != nil {
		return "", err
	}
	if err := c.awaitDir(ctx, topic, 0, broker, 1-from); err != nil {
		return "", err
	}
	return c.whole(ctx, topic, pacedBytes/recordSize)
}

// failedDirectory starts a broker without one of its directories: who was there is not in sync until it is back.
func failedDirectory(ctx context.Context, c *cluster) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	const topic, partitions, broker = "shelf", 4, 3
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", strings.Repeat("1:2:3,", partitions-1)+"1:2:3"); err != nil {
		return "", err
	}
	cl, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	inSync := func(n int) error { // partitions that are in sync on the broker
		_, err := c.until(ctx, patience, func() (string, error) {
			md, err := kadm.NewClient(cl).Metadata(ctx, topic)
			if err != nil {
				return "", err
			}
			got := 0
			md.Topics.EachPartition(func(p kadm.PartitionDetail) {
				if slices.Contains(p.ISR, broker) {
					got++
				}
			})
			if got != n {
				err = fmt.Errorf("%d partitions are in sync on broker %d, want %d", got, broker, n)
			}
			return "", err
		})
		return err
	}
	if err := inSync(partitions); err != nil {
		return "", err
	}
	found, _, err := c.describeDirs(ctx, topic)
	if err != nil {
		return "", err
	}
	first := 0
	for p := range partitions {
		dir, _, err := at(found, broker, fmt.Sprintf("%s-%d", topic, p))
		if err != nil {
			return "", err
		}
		if dir == 0 {
			first++
		}
	}
	lost := c.LogDirsOf(broker)[1]
	if err := errors.Join(c.End(broker, syscall.SIGTERM), os.Rename(lost, lost+".away"), os.WriteFile(lost, nil, 0o644),
		c.Start(broker), c.Await(ctx, broker)); err != nil {
		return "", err
	}
	if err := inSync(first); err != nil {
		return "", err
	}
	told, err := c.until(ctx, patience, func() (string, error) {
		_, failed, err := c.describeDirs(ctx, topic)
		if want := []string{fmt.Sprintf("%d/1 org.apache.kafka.common.errors.KafkaStorageException", broker)}; err == nil && !slices.Equal(failed, want) {
			err = fmt.Errorf("directories with errors %v, want %v", failed, want)
		}
		return strings.Join(failed, " "), err
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(c.End(broker, syscall.SIGTERM), os.Remove(lost), os.Rename(lost+".away", lost), c.Start(broker), c.Await(ctx, broker)); err != nil {
		return "", err
	}
	if err := inSync(partitions); err != nil {
		return "", err
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return told, err
}

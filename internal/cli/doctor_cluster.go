package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// checkCluster goes on with a real client: login, metadata, every advertised address, clock, topics.
func (d *doctor) checkCluster() bool {
	cn, err := d.app.dialWith(d.ctx, false)
	if err != nil {
		d.fail("client", "settings", err.Error(), "")
		return false
	}
	defer cn.close()
	cn.timeout = d.timeout()
	begin := d.app.Now()
	md, err := d.askMetadata(cn)
	if err != nil {
		f := asFault("metadata", err)
		step := "metadata"
		if f.Exit == exitDenied {
			step = "login"
		}
		fix := f.Try
		if f.Exit == exitUnreachable && !strings.HasPrefix(d.set.props.protocol, "SASL") &&
			d.set.props.sasl.username == "" {
			fix = "if the listener wants a login: -X security.protocol=SASL_PLAINTEXT -X sasl.mechanism=... -X sasl.username=... -X sasl.password=..."
		}
		d.fail(step, strings.Join(d.set.props.bootstrap, ","), f.Why, fix)
		return false
	}
	if u := d.set.props.sasl.username; u != "" {
		d.ok("login", u, firstOf(strings.ToUpper(d.set.props.sasl.mechanism), "PLAIN"), 0)
	}
	d.ok("metadata", "cluster "+md.Cluster, fmt.Sprintf("%s, controller is %s", countOf(len(md.Brokers), "broker"),
		brokerName(md.Controller)),
		d.app.Now().Sub(begin))
	reached := d.checkAdvertised(cn, md)
	if reached == 0 {
		return false
	}
	d.checkClock(cn)
	d.checkTopics(cn, md)
	return true
}

// askMetadata uses the bootstrap connection, before any advertised address is needed.
func (d *doctor) askMetadata(cn *conn) (kadm.Metadata, error) {
	ctx, cancel := cn.step()
	defer cancel()
	md, err := cn.Metadata(ctx)
	if err != nil {
		return md, cn.fault("cannot read the cluster's metadata", err)
	}
	return md, nil
}

// checkAdvertised tries the address of each broker as the brokers tell it to clients, which is where
// most newcomers are stopped: the bootstrap address works and this one does not.
func (d *doctor) checkAdvertised(cn *conn, md kadm.Metadata) (reached int) {
	if len(md.Brokers) == 0 {
		d.fail("brokers", "cluster "+md.Cluster, "no broker is registered", "wait, and look at the brokers' logs")
	}
	for _, b := range md.Brokers {
		target := fmt.Sprintf("broker %d at %s", b.NodeID, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
		begin := d.app.Now()
		if why := d.tryBroker(cn, b); why != "" {
			d.fail("advertised", target, why, d.advertisedFix(b))
			continue
		}
		reached++
		if fix := d.loopbackTrap(b); fix != "" {
			d.warn("advertised", target, "works here, but is an address of this machine only", fix)
			continue
		}
		d.ok("advertised", target, "reachable from here", d.app.Now().Sub(begin))
	}
	return reached
}

func (d *doctor) tryBroker(cn *conn, b kadm.BrokerDetail) string {
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout())
	defer cancel()
	addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return dialReason(err)
	}
	c.Close()
	if _, err := cn.cl.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
		return asFault("", cn.fault("", err)).Why
	}
	return ""
}

func (d *doctor) advertisedFix(b kadm.BrokerDetail) string {
	boot, _, err := net.SplitHostPort(d.set.props.bootstrap[0])
	if err != nil {
		boot = "the name that works here"
	}
	return fmt.Sprintf(
		"on broker %d set advertised.listeners to an address that clients can reach, such as %s; inside and outside of containers need a listener each",
		b.NodeID, net.JoinHostPort(boot, strconv.Itoa(int(b.Port))))
}

// loopbackTrap notices a broker that tells clients an address of its own machine.
func (d *doctor) loopbackTrap(b kadm.BrokerDetail) string {
	boot, _, err := net.SplitHostPort(d.set.props.bootstrap[0])
	if err != nil || isLoopback(boot) || !isLoopback(b.Host) {
		return ""
	}
	return "clients on other machines will be sent to themselves: set advertised.listeners"
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// skewLimit is how far a clock may be off before timestamps and tokens suffer.
const skewLimit = 2 * time.Second

// checkClock compares the clocks. The leader of the metadata quorum reports itself as caught up as of
// now, which is the one place where a broker tells its time.
func (d *doctor) checkClock(cn *conn) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	ctx, cancel := cn.step()
	defer cancel()
	begin := d.app.Now()
	resp, err := req.RequestWith(ctx, cn.cl)
	took := d.app.Now().Sub(begin)
	theirs := quorumTime(resp)
	if err != nil || theirs.IsZero() {
		d.note(checkSkip, "clock", "controller", "it does not tell its time", "", 0)
		return
	}
	skew := theirs.Sub(begin.Add(took / 2)).Round(time.Millisecond)
	if skew.Abs() > skewLimit+took {
		d.warn("clock", "controller", fmt.Sprintf("is %s %s", humanDuration(skew.Abs()), aheadOrBehind(skew)),
			"synchronise both clocks (NTP)")
		return
	}
	d.ok("clock", "controller", fmt.Sprintf("within %s of this machine's",
		humanDuration(max(skew.Abs(), took, time.Millisecond).Round(time.Millisecond))), took)
}

func aheadOrBehind(skew time.Duration) string {
	if skew > 0 {
		return "ahead of this machine"
	}
	return "behind this machine"
}

func quorumTime(resp *kmsg.DescribeQuorumResponse) time.Time {
	if resp == nil {
		return time.Time{}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, v := range p.CurrentVoters {
				if v.ReplicaID == p.LeaderID && v.LastCaughtUpTimestamp > 0 {
					return time.UnixMilli(v.LastCaughtUpTimestamp)
				}
			}
		}
	}
	return time.Time{}
}

// checkTopics looks at what lives on the cluster.
func (d *doctor) checkTopics(cn *conn, md kadm.Metadata) {
	h := clusterHealth{Controller: md.Controller, Brokers: len(md.Brokers)}
	cn.checkPartitions(&h, md)
	cn.checkDirs(&h)
	for _, p := range h.Problems {
		d.fail("topics", "cluster", p.text(), "logstead cluster health")
	}
	if len(h.Problems) == 0 {
		d.ok("topics", countOf(len(md.Topics), "topic"), fmt.Sprintf("%s, each with a leader and all its copies",
			countOf(h.Partitions, "partition")), 0)
	}
	if len(md.Brokers) < 3 {
		return
	}
	var single []string
	for _, t := range md.Topics.Sorted() {
		if t.Partitions.NumReplicas() == 1 {
			single = append(single, t.Topic)
		}
	}
	if len(single) > 0 {
		d.warn("topics", countOf(len(single), "topic"), "with a single copy: "+strings.Join(
			single[:min(5, len(single))], ", "),
			"the loss of one broker loses them; create them with -r 3")
	}
}

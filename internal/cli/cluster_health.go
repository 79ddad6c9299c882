package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type clusterHealth struct {
	Status     string        `json:"status" col:"STATUS"` // HEALTHY, DEGRADED or DOWN
	Sentence   string        `json:"summary" col:"SUMMARY"`
	Controller int32         `json:"controller"`
	Brokers    int           `json:"brokers"`
	Partitions int           `json:"partitions"`
	Problems   []healthIssue `json:"problems"`
	Checked    time.Time     `json:"checked"`
}

type healthIssue struct {
	Kind  string   `json:"kind" col:"PROBLEM"`
	Count int      `json:"count" col:"COUNT"`
	Items []string `json:"items" col:"WHERE"`
}

// The names of problems, worst first.
const (
	issueUnreachable  = "cluster not reachable"
	issueNoController = "no controller"
	issueBroker       = "broker not responding"
	issueLeaderless   = "partition without leader"
	issueUnderMin     = "partition below min.insync.replicas"
	issueUnder        = "under-replicated partition"
	issueDir          = "offline log directory"
)

func (h clusterHealth) sections(bool) []section {
	secs := []section{{text: h.Sentence}}
	if len(h.Problems) > 0 {
		secs = append(secs, section{rows: h.Problems})
	}
	return secs
}

type healthFlags struct {
	watch, wait bool
	interval    time.Duration
}

func clusterHealthCmd(a *App) *cobra.Command {
	fl := healthFlags{}
	c := &cobra.Command{
		Use:   "health",
		Short: "Say whether the cluster is healthy; the exit code tells too",
		Long: `Check that every broker answers, a controller is there, every partition has a leader and all its
copies, none is below min.insync.replicas, and no log directory is offline.

The exit code is 0 when healthy, 1 when degraded, 5 when the cluster cannot be reached.`,
		Example: examples(
			"", "logstead cluster health",
			"wait for it in a deployment", "logstead cluster health --exit-when-healthy --timeout 2m",
			"keep looking", "logstead cluster health --watch"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.clusterHealth(cmd, fl) },
	}
	c.Flags().BoolVar(&fl.watch, "watch", false, "check again and again, and tell changes")
	c.Flags().BoolVar(&fl.wait, "exit-when-healthy", false, "wait until it is healthy, --timeout at most")
	c.Flags().DurationVar(&fl.interval, "interval", time.Second, "time between checks")
	return c
}

func (a *App) clusterHealth(cmd *cobra.Command, fl healthFlags) error {
	if fl.interval < 50*time.Millisecond {
		return usagef("--interval %s is too short: at least 50ms", fl.interval)
	}
	if !fl.watch && !fl.wait {
		h, err := a.checkHealth(cmd.Context(), true)
		if err != nil {
			return err
		}
		a.code = h.exit()
		return a.emit(h)
	}
	return a.followHealth(cmd.Context(), fl)
}

// followHealth repeats the check. Each check dials anew, so that a cluster that comes up, or changes
// its addresses, is seen as a client would see it.
func (a *App) followHealth(ctx context.Context, fl healthFlags) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	deadline := a.Now().Add(s.timeout)
	last := ""
	for {
		h, err := a.checkHealth(ctx, false)
		if err != nil && ctx.Err() == nil && asFault("", err).Exit == exitUsage {
			return err
		}
		if fl.wait && h.Status == "HEALTHY" {
			return a.emit(h)
		}
		if fl.wait && !a.Now().Before(deadline) {
			f := &Fault{What: "the cluster did not become healthy within " + humanDuration(s.timeout),
				Why: h.Sentence, Exit: exitUnreachable}
			return f.try("a larger --timeout, or logstead doctor")
		}
		if h.Sentence != last {
			last = h.Sentence
			if err := a.tellHealth(h, fl); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(fl.interval):
		}
	}
}

func (a *App) tellHealth(h clusterHealth, fl healthFlags) error {
	if fl.wait {
		a.say("%s", h.Sentence)
		return nil
	}
	if a.jsonErrors() {
		return a.emitNDJSON(h)
	}
	_, err := fmt.Fprintf(a.Stdout, "%s  %s\n", h.Checked.Format("15:04:05Z07:00"), h.Sentence)
	return err
}

// checkHealth looks once. A cluster that cannot be reached is an error if strict, else a state.
func (a *App) checkHealth(ctx context.Context, strict bool) (clusterHealth, error) {
	down := func(err error) (clusterHealth, error) {
		h := clusterHealth{Controller: -1, Checked: a.Now().UTC()}
		f := asFault("cannot check the cluster", err)
		h.add(issueUnreachable, f.What+", "+f.Why)
		h.judge()
		if strict || ctx.Err() != nil {
			return h, err
		}
		return h, nil
	}
	cn, err := a.dialWith(ctx, true)
	if err != nil {
		return clusterHealth{}, err
	}
	defer cn.close()
	if !strict {
		cn.timeout = min(cn.timeout, 3*time.Second)
	}
	md, err := call(cn, "cannot read the cluster's metadata",
		func(ctx context.Context) (kadm.Metadata, error) { return cn.Metadata(ctx) })
	if err != nil {
		return down(err)
	}
	h := clusterHealth{Controller: md.Controller, Brokers: len(md.Brokers), Checked: a.Now().UTC()}
	if md.Controller < 0 {
		h.add(issueNoController, "")
	}
	cn.checkBrokers(&h, md)
	cn.checkPartitions(&h, md)
	cn.checkDirs(&h)
	h.judge()
	return h, nil
}

func (h *clusterHealth) add(kind, item string) {
	for i := range h.Problems {
		if h.Problems[i].Kind == kind {
			h.Problems[i].Count++
			h.Problems[i].Items = append(h.Problems[i].Items, item)
			return
		}
	}
	p := healthIssue{Kind: kind, Count: 1}
	if item != "" {
		p.Items = []string{item}
	}
	h.Problems = append(h.Problems, p)
}

func (h *clusterHealth) has(kind string) bool {
	for _, p := range h.Problems {
		if p.Kind == kind {
			return true
		}
	}
	return false
}

// judge sets the state and the sentence that every logstead tool shows.
func (h *clusterHealth) judge() {
	h.Status = "HEALTHY"
	if len(h.Problems) > 0 {
		h.Status = "DEGRADED"
	}
	if h.has(issueUnreachable) {
		h.Status = "DOWN"
	}
	parts := make([]string, 0, len(h.Problems))
	for _, p := range h.Problems {
		parts = append(parts, p.text())
	}
	h.Sentence = h.Status
	if len(parts) > 0 {
		h.Sentence += ": " + strings.Join(parts, "; ")
	} else {
		h.Sentence += fmt.Sprintf(": %s, %s", countOf(h.Brokers, "broker"), countOf(h.Partitions, "partition"))
	}
}

func (p healthIssue) text() string {
	if p.Kind == issueUnreachable {
		return strings.Join(p.Items, "; ")
	}
	s := p.Kind
	if p.Kind != issueNoController {
		s = strconv.Itoa(p.Count) + " " + pluralIssue(p.Kind, p.Count)
	}
	if len(p.Items) == 0 {
		return s
	}
	const most = 5
	items := p.Items[:min(most, len(p.Items))]
	s += " (" + strings.Join(items, ", ")
	if len(p.Items) > most {
		s += ", ..."
	}
	return s + ")"
}

func pluralIssue(kind string, n int) string {
	if n == 1 {
		return kind
	}
	for _, noun := range []struct{ one, many string }{{"partition", "partitions"}, {"broker", "brokers"},
		{"directory", "directories"}} {
		if strings.Contains(kind, noun.one) {
			return strings.Replace(kind, noun.one, noun.many, 1)
		}
	}
	return kind
}

func (h clusterHealth) exit() int {
	switch h.Status {
	case "HEALTHY":
		return exitOK
	case "DOWN":
		return exitUnreachable
	}
	return exitFailed
}

func (c *conn) checkBrokers(h *clusterHealth, md kadm.Metadata) {
	ctx, cancel := c.step()
	defer cancel()
	vs, err := c.ApiVersions(ctx)
	if err != nil && len(vs) == 0 {
		c.app.debug("cannot ask the brokers: %v", err)
	}
	for _, b := range md.Brokers {
		if v, ok := vs[b.NodeID]; !ok || v.Err != nil {
			h.add(issueBroker, fmt.Sprintf("broker %d at %s:%d", b.NodeID, b.Host, b.Port))
		}
	}
}

func (c *conn) checkPartitions(h *clusterHealth, md kadm.Metadata) {
	short := map[string][]kadm.PartitionDetail{}
	for _, t := range md.Topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			h.Partitions++
			if p.Leader < 0 {
				h.add(issueLeaderless, fmt.Sprintf("%s-%d", t.Topic, p.Partition))
			} else if len(p.ISR) < len(p.Replicas) {
				h.add(issueUnder, fmt.Sprintf("%s-%d", t.Topic, p.Partition))
			}
			if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
				short[t.Topic] = append(short[t.Topic], p)
			}
		}
	}
	for _, t := range sortedKeys(short) {
		least := c.minISR(t)
		for _, p := range short[t] {
			if len(p.ISR) < least {
				h.add(issueUnderMin, fmt.Sprintf("%s-%d", t, p.Partition))
			}
		}
	}
}

// minISR is the topic's min.insync.replicas, 1 where it may not be read.
func (c *conn) minISR(topic string) int {
	rows, err := c.describeConfigs(configTopic, topic, []string{"min.insync.replicas"}, false)
	if err != nil || len(rows) == 0 {
		return 1
	}
	n, err := strconv.Atoi(deref(rows[0].Value))
	if err != nil {
		return 1
	}
	return n
}

func (c *conn) checkDirs(h *clusterHealth) {
	ctx, cancel := c.step()
	defer cancel()
	dirs, err := c.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		var denied *kadm.AuthError
		if !errors.As(err, &denied) {
			c.app.debug("cannot read log directories: %v", err)
		}
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		if d.Err != nil {
			h.add(issueDir, fmt.Sprintf("%s on broker %d", d.Dir, d.Broker))
		}
	})
}

package cli

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// doctorReport is everything that doctor found.
type doctorReport struct {
	Verdict string        `json:"verdict"`
	OK      bool          `json:"ok"`
	Checks  []doctorCheck `json:"checks"`
}

// doctorCheck is one step on the way from this machine to the records of a cluster.
type doctorCheck struct {
	Status string `json:"status" col:"STATUS"` // ok, warn, fail or skip
	Step   string `json:"step" col:"STEP"`
	Target string `json:"target" col:"TARGET"`
	Detail string `json:"detail" col:"DETAIL"`
	Fix    string `json:"fix,omitempty" col:"FIX"`
	Millis int64  `json:"duration_ms"`
}

const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
	checkSkip = "skip"
)

// doctor walks the path of a client, step by step; a step that fails ends what depends on it.
type doctor struct {
	app    *App
	ctx    context.Context
	set    *settings
	report doctorReport
	live   bool // print lines as they come
}

func doctorCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [HOST:PORT]",
		Short: "Find out why a client cannot connect: name, port, TLS, login, addresses",
		Long: `Walk the path of a client step by step: name, port, TLS, login, protocol, metadata, then every address
that the brokers tell clients to use, seen from here; then the clock, and the state of the topics.
Each step says what was found and, where something is wrong, what mends it. Nothing is changed.

The exit code is 0 when nothing failed, 5 when the cluster cannot be used from here, else 1.`,
		Example: examples(
			"", "logstead doctor 127.0.0.1:9092",
			"with the login of a context", "logstead doctor -c prod"),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.flags.bootstrap = []string{args[0]}
			}
			s, err := a.settings()
			if err != nil {
				return err
			}
			if err := s.resolveSASL(cmd.Context()); err != nil {
				return err
			}
			d := &doctor{app: a, ctx: cmd.Context(), set: s, live: a.format() == "table"}
			return d.run()
		},
	}
}

func (d *doctor) run() error {
	usable := d.checkBootstrap()
	if usable {
		usable = d.checkCluster()
	}
	d.conclude(usable)
	if d.live {
		fmt.Fprintf(d.app.Stdout, "\n%s\n", d.app.paint(bold, d.report.Verdict))
	} else if err := d.app.emit(d.report); err != nil {
		return err
	}
	if d.ctx.Err() != nil {
		return &Fault{What: "interrupted", Exit: exitInterrupted}
	}
	switch {
	case !usable:
		d.app.code = exitUnreachable
	case !d.report.OK:
		d.app.code = exitFailed
	}
	return nil
}

func (r doctorReport) sections(bool) []section {
	return []section{{rows: r.Checks}, {text: r.Verdict}}
}

// note records a step and prints it.
func (d *doctor) note(status, step, target, detail, fix string, took time.Duration) {
	d.report.Checks = append(d.report.Checks, doctorCheck{Status: status, Step: step, Target: target, Detail: detail,
		Fix: fix, Millis: took.Milliseconds()})
	if !d.live {
		return
	}
	colours := map[string]colour{checkOK: green, checkWarn: yellow, checkFail: red, checkSkip: dim}
	fmt.Fprintf(d.app.Stdout, "%s  %-10s  %s", d.app.paint(colours[status], fmt.Sprintf("%-4s", status)), step, target)
	if detail != "" {
		fmt.Fprintf(d.app.Stdout, ": %s", detail)
	}
	fmt.Fprintln(d.app.Stdout)
	if fix != "" {
		fmt.Fprintf(d.app.Stdout, "                  %s %s\n", d.app.paint(bold, "fix:"), fix)
	}
}

func (d *doctor) ok(step, target, detail string, took time.Duration) {
	d.note(checkOK, step, target, detail, "", took)
}

func (d *doctor) fail(step, target, detail, fix string) {
	d.note(checkFail, step, target, detail, fix, 0)
}
func (d *doctor) warn(step, target, detail, fix string) {
	d.note(checkWarn, step, target, detail, fix, 0)
}

func (d *doctor) conclude(usable bool) {
	var bad, warned int
	for _, c := range d.report.Checks {
		switch c.Status {
		case checkFail:
			bad++
		case checkWarn:
			warned++
		}
	}
	d.report.OK = bad == 0
	switch {
	case !usable:
		d.report.Verdict = "The cluster cannot be used from here: see the first step that failed."
	case bad > 0:
		d.report.Verdict = fmt.Sprintf("The cluster answers, but %s will give trouble.", countOf(bad, "step"))
	case warned > 0:
		d.report.Verdict = fmt.Sprintf("Everything a client needs works; %s to look at.", countOf(warned, "remark"))
	default:
		d.report.Verdict = "Everything a client needs works."
	}
}

// checkBootstrap tries every bootstrap address; one that works is enough.
func (d *doctor) checkBootstrap() bool {
	usable := false
	for _, addr := range d.set.props.bootstrap {
		if d.checkAddress(addr) {
			usable = true
		}
	}
	return usable
}

func (d *doctor) timeout() time.Duration { return min(d.set.timeout, 5*time.Second) }

// checkAddress goes from the name to an answer in the Kafka protocol.
func (d *doctor) checkAddress(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		d.fail("address", addr, err.Error(), "write it as HOST:PORT, an IPv6 address as [::1]:9092")
		return false
	}
	if !d.checkName(host) || !d.checkPort(host, port) {
		return false
	}
	return d.checkProtocol(addr)
}

func (d *doctor) checkName(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout())
	defer cancel()
	begin := d.app.Now()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		d.fail("name", host, "does not resolve",
			"check the spelling; inside containers use the name of the service, outside the host's name")
		return false
	}
	d.ok("name", host, "is "+strings.Join(ips, ", "), d.app.Now().Sub(begin))
	return true
}

func (d *doctor) checkPort(host, port string) bool {
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout())
	defer cancel()
	begin := d.app.Now()
	addr := net.JoinHostPort(host, port)
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		why := dialReason(err)
		fix := "start the broker, or use the port it listens on (the listeners setting)"
		if why == "no answer in time" {
			fix = "a firewall or a wrong address drops the packets: check both"
		}
		d.fail("port", addr, why, fix)
		return false
	}
	c.Close()
	d.ok("port", addr, "open", d.app.Now().Sub(begin))
	return true
}

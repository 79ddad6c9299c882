package cli

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	defaultPort      = 9092
	defaultBootstrap = "127.0.0.1:9092"
	defaultTimeout   = 10 * time.Second
	defaultSource    = "the default address"
)

// settings are the effective connection settings of one command line. Precedence, highest first:
// flags, -X, the -F file, environment, context, defaults.
type settings struct {
	context   string // "" when none is in use
	props     clientProps
	source    string // where the bootstrap address came from, for error messages
	readOnly  bool
	confirm   bool // always ask, also before harmless writes
	color     string
	timeout   time.Duration
	location  *time.Location
	sasl      *contextSASL // still to be resolved: the password may need a command
	tlsWanted bool
}

// settings resolves flags, files, environment and context, once.
func (a *App) settings() (*settings, error) {
	if a.resolved != nil {
		return a.resolved, nil
	}
	s := &settings{timeout: defaultTimeout, location: time.UTC}
	s.props.bootstrap, s.source = []string{defaultBootstrap}, defaultSource
	if err := a.applyContext(s); err != nil {
		return nil, err
	}
	a.applyEnvironment(s)
	if err := a.applyProperties(s); err != nil {
		return nil, err
	}
	if err := a.applyFlags(s); err != nil {
		return nil, err
	}
	for i, addr := range s.props.bootstrap {
		s.props.bootstrap[i] = withPort(addr)
	}
	a.resolved = s
	return s, nil
}

func (a *App) applyContext(s *settings) error {
	file, project, err := a.contexts()
	if err != nil {
		return err
	}
	name, from := a.contextName(file, project)
	if name == "" {
		return nil
	}
	c, ok := file.Contexts[name]
	if !ok {
		f := &Fault{What: fmt.Sprintf("context %q does not exist", name), Why: "asked for by " + from,
			Exit: exitNotFound, Similar: similar(name, file.names())}
		return f.try("logstead ctx list")
	}
	return c.apply(s, name)
}

// contextName decides which context is in use and what asked for it.
func (a *App) contextName(file contextFile, project string) (name, from string) {
	if a.flags.context != "" {
		return a.flags.context, "--context"
	}
	// An address given by hand stands alone: the login of whatever context happens to be current is
	// not sent to it. -c together with -b combines the two.
	if len(a.flags.bootstrap) > 0 || a.Getenv("KAFKA_BOOTSTRAP_SERVERS") != "" || a.Getenv("KAFKA_BROKERS") != "" {
		return "", ""
	}
	if n := a.Getenv("LOGSTEAD_CONTEXT"); n != "" {
		return n, "LOGSTEAD_CONTEXT"
	}
	if file.Context != "" {
		return file.Context, project
	}
	if n, _, err := a.contextStore().current(); err == nil && n != "" {
		if _, ok := file.Contexts[n]; ok { // a deleted context is simply not in use any more
			return n, "logstead ctx use"
		}
	}
	return "", ""
}

func (c *clientContext) apply(s *settings, name string) error {
	s.context, s.readOnly, s.confirm, s.color = name, c.ReadOnly, c.Confirm == "always", c.Color
	for k, v := range c.Props {
		if err := s.props.set(k, v); err != nil {
			return err
		}
	}
	if len(c.Bootstrap) > 0 {
		s.props.bootstrap = append([]string(nil), c.Bootstrap...)
		s.source = fmt.Sprintf("context %q", name)
	}
	if c.TLS != nil {
		s.tlsWanted = c.TLS.Enabled == nil || *c.TLS.Enabled
		t := &s.props.tls
		t.caFile, t.certFile, t.keyFile = c.TLS.CA, c.TLS.Cert, c.TLS.Key
		t.serverName, t.insecure = c.TLS.ServerName, c.TLS.Insecure
	}
	s.sasl = c.SASL
	d, err := c.timeout()
	if err != nil {
		return usagef("context %q: %v", name, err)
	}
	if d > 0 {
		s.timeout = d
	}
	if c.Timezone != "" {
		return s.setLocation(c.Timezone)
	}
	return nil
}

func (s *settings) setLocation(name string) error {
	switch strings.ToLower(name) {
	case "utc":
		s.location = time.UTC
	case "local":
		s.location = time.Local
	default:
		loc, err := time.LoadLocation(name)
		if err != nil {
			return usagef("time zone %q is not known", name).try("UTC, local or a name such as Europe/Berlin")
		}
		s.location = loc
	}
	return nil
}

func (a *App) applyEnvironment(s *settings) {
	if a.flags.context != "" {
		return // a context named on the command line beats an address in the environment
	}
	for _, name := range []string{"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS"} {
		if list := splitList(a.Getenv(name)); len(list) > 0 {
			s.props.bootstrap, s.source = list, name
			return
		}
	}
}

func (a *App) applyProperties(s *settings) error {
	before := s.props.bootstrap
	if a.flags.propsFile != "" {
		s.props.bootstrap = nil
		ignored, err := s.props.loadFile(a.flags.propsFile)
		if err != nil {
			return err
		}
		if len(ignored) > 0 {
			a.debug("%s: not used by this client: %s", a.flags.propsFile, strings.Join(ignored, ", "))
		}
		if s.props.bootstrap != nil {
			s.source = a.flags.propsFile
		} else {
			s.props.bootstrap = before
		}
	}
	for _, kv := range a.flags.props {
		k, v, err := splitPair(kv)
		if err != nil {
			return usagef("-X %v", err)
		}
		if err := s.props.set(k, v); err != nil {
			return err
		}
		if k == "bootstrap.servers" || k == "metadata.broker.list" {
			s.source = "-X " + k
		}
	}
	return nil
}

func (a *App) applyFlags(s *settings) error {
	if list := splitList(strings.Join(a.flags.bootstrap, ",")); len(list) > 0 {
		s.props.bootstrap, s.source = list, "--bootstrap-server"
	}
	if a.flags.timeout > 0 {
		s.timeout = a.flags.timeout
	}
	if a.flags.timezone != "" {
		return s.setLocation(a.flags.timezone)
	}
	return nil
}

// withPort adds Kafka's port where an address has none.
func withPort(addr string) string {
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		return addr + ":9092"
	}
	if strings.HasPrefix(addr, "[") || strings.Count(addr, ":") == 1 {
		return addr
	}
	if strings.Count(addr, ":") > 1 {
		return "[" + addr + "]:9092"
	}
	return addr + ":9092"
}

// resolveSASL fills the login from the context; a password command is run now, not earlier, so that
// commands which do not connect never ask for a secret.
func (s *settings) resolveSASL(ctx context.Context) error {
	c := s.sasl
	if c == nil {
		return nil
	}
	p := &s.props.sasl
	fill := func(dst *string, v string) {
		if *dst == "" {
			*dst = v
		}
	}
	fill(&p.mechanism, c.Mechanism)
	fill(&p.username, c.Username)
	fill(&p.password, c.Password)
	if p.password == "" && c.PasswordFile != "" {
		line, err := firstLine(c.PasswordFile)
		if err != nil {
			return &Fault{What: "cannot read the password file", Why: err.Error(), Exit: exitUsage}
		}
		p.password = line
	}
	if p.password == "" && c.PasswordCommand != "" {
		out, err := exec.CommandContext(ctx, "/bin/sh", "-c", c.PasswordCommand).Output()
		if err != nil {
			return &Fault{What: "the password command failed", Why: c.PasswordCommand + ": " + err.Error(),
				Exit: exitDenied}
		}
		p.password = strings.TrimRight(string(out), "\r\n")
	}
	s.sasl = nil
	return nil
}

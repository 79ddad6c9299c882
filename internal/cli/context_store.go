package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// clientContext is one named set of connection settings, as kept in config.yaml.
type clientContext struct {
	Bootstrap []string          `yaml:"bootstrap,flow,omitempty" json:"bootstrap"`
	Registry  string            `yaml:"registry,omitempty" json:"registry,omitempty"`
	Connect   string            `yaml:"connect,omitempty" json:"connect,omitempty"`
	Admin     string            `yaml:"admin,omitempty" json:"admin,omitempty"`
	TLS       *contextTLS       `yaml:"tls,omitempty" json:"tls,omitempty"`
	SASL      *contextSASL      `yaml:"sasl,omitempty" json:"sasl,omitempty"`
	Props     map[string]string `yaml:"properties,omitempty" json:"properties,omitempty"`
	Color     string            `yaml:"color,omitempty" json:"color,omitempty"`
	ReadOnly  bool              `yaml:"read_only,omitempty" json:"read_only,omitempty"`
	Confirm   string            `yaml:"confirm,omitempty" json:"confirm,omitempty"`
	Timeout   string            `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	Output    string            `yaml:"output,omitempty" json:"output,omitempty"`
	Timezone  string            `yaml:"timezone,omitempty" json:"timezone,omitempty"`
}

type contextTLS struct {
	Enabled    *bool  `yaml:"enabled,omitempty" json:"enabled,omitempty"`
	CA         string `yaml:"ca,omitempty" json:"ca,omitempty"`
	Cert       string `yaml:"cert,omitempty" json:"cert,omitempty"`
	Key        string `yaml:"key,omitempty" json:"key,omitempty"`
	ServerName string `yaml:"server_name,omitempty" json:"server_name,omitempty"`
	Insecure   bool   `yaml:"insecure,omitempty" json:"insecure,omitempty"`
}

type contextSASL struct {
	Mechanism       string `yaml:"mechanism,omitempty" json:"mechanism,omitempty"`
	Username        string `yaml:"username,omitempty" json:"username,omitempty"`
	Password        string `yaml:"password,omitempty" json:"password,omitempty"`
	PasswordFile    string `yaml:"password_file,omitempty" json:"password_file,omitempty"`
	PasswordCommand string `yaml:"password_command,omitempty" json:"password_command,omitempty"`
}

// contextFile is config.yaml, and also .logstead.yaml in a project.
type contextFile struct {
	Context  string                    `yaml:"context,omitempty"` // only in a project file
	Contexts map[string]*clientContext `yaml:"contexts,omitempty"`
}

// contextStore is the contexts on disk. The current one is kept in a file of its own, so that
// config.yaml can be read-only or under version control.
type contextStore struct {
	dir string // $XDG_CONFIG_HOME/logstead
}

func (a *App) contextStore() contextStore {
	base := a.Getenv("XDG_CONFIG_HOME")
	if base == "" {
		base = filepath.Join(a.Getenv("HOME"), ".config")
	}
	return contextStore{dir: filepath.Join(base, "logstead")}
}

func (s contextStore) configPath() string  { return filepath.Join(s.dir, "config.yaml") }
func (s contextStore) currentPath() string { return filepath.Join(s.dir, "current-context") }

// load reads config.yaml; no file is no contexts.
func (s contextStore) load() (contextFile, error) { return readContextFile(s.configPath()) }

func readContextFile(path string) (contextFile, error) {
	var f contextFile
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return f, &Fault{What: "cannot read " + path, Why: yamlError(err), Exit: exitUsage,
			Try: "mend the file, or move it away"}
	}
	for name, c := range f.Contexts {
		if c == nil {
			f.Contexts[name] = &clientContext{}
		}
	}
	return f, nil
}

// yamlError keeps the position and the reason of a YAML error, without the source excerpt.
func yamlError(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// save writes config.yaml through a temporary file, readable by the user alone.
func (s contextStore) save(f contextFile) error {
	b, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode contexts: %w", err)
	}
	return s.write(s.configPath(), b)
}

func (s contextStore) write(path string, b []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(b); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// current returns the selected context and the one selected before it.
func (s contextStore) current() (current, previous string, err error) {
	b, err := os.ReadFile(s.currentPath())
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	lines := strings.Split(string(b), "\n")
	current = strings.TrimSpace(lines[0])
	if len(lines) > 1 {
		previous = strings.TrimSpace(lines[1])
	}
	return current, previous, nil
}

func (s contextStore) setCurrent(name string) error {
	now, previous, err := s.current()
	if err != nil {
		return err
	}
	if now != name {
		previous = now
	}
	return s.write(s.currentPath(), []byte(name+"\n"+previous+"\n"))
}

// saveContext creates or replaces a context and, if asked, selects it. The dev command uses it.
func (s contextStore) saveContext(name string, c *clientContext, use bool) error {
	f, err := s.load()
	if err != nil {
		return err
	}
	if f.Contexts == nil {
		f.Contexts = map[string]*clientContext{}
	}
	f.Contexts[name] = c
	if err := s.save(f); err != nil {
		return err
	}
	if !use {
		return nil
	}
	return s.setCurrent(name)
}

// projectFile finds .logstead.yaml in dir or above it, up to the root of a git checkout.
func projectFile(dir string) string {
	for {
		path := filepath.Join(dir, ".logstead.yaml")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return ""
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// contexts merges the user's contexts with those of the project, which win, and names the one the
// project asks for.
func (a *App) contexts() (f contextFile, project string, err error) {
	f, err = a.contextStore().load()
	if err != nil {
		return f, "", err
	}
	wd, err := os.Getwd()
	if err != nil {
		return f, "", nil // a vanished working directory has no project
	}
	path := projectFile(wd)
	if path == "" {
		return f, "", nil
	}
	p, err := readContextFile(path)
	if err != nil {
		return f, path, err
	}
	if f.Contexts == nil {
		f.Contexts = map[string]*clientContext{}
	}
	for name, c := range p.Contexts {
		if c.SASL != nil && c.SASL.Password != "" {
			return f, path, &Fault{What: fmt.Sprintf("context %q in %s holds a password", name, path),
				Why: "project files are shared and must not hold secrets", Exit: exitUsage,
				Try: "password_command or password_file in its place"}
		}
		f.Contexts[name] = c
	}
	f.Context = p.Context
	return f, path, nil
}

func (f contextFile) names() []string {
	names := make([]string, 0, len(f.Contexts))
	for n := range f.Contexts {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// timeout of a context, or 0.
func (c *clientContext) timeout() (time.Duration, error) {
	if c.Timeout == "" {
		return 0, nil
	}
	return parseDuration(c.Timeout)
}

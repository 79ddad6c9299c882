package cli

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func configCmd(a *App) *cobra.Command {
	c := family("config", "Read and change settings of topics, brokers and groups",
		configGetCmd(a), configSetCmd(a), configDeleteCmd(a), configDiffCmd(a), configExplainCmd(a), configLintCmd(a))
	c.Long = `Read and change settings that are kept in the cluster. A setting belongs to

  topic NAME      broker ID        broker default  (all brokers)
  group NAME      logger ID        metrics NAME    (client metrics subscription)

explain and lint work on the files of a server and ask no cluster.`
	c.Example = examples(
		"what is set on a topic", "logstead config get topic orders",
		"", "logstead config set topic orders retention.ms=86400000",
		"", "logstead config diff topic orders payments",
		"what a setting of the server means, and where its value comes from", "logstead config explain log.dirs --config server.properties")
	return c
}

// The kinds of things that have settings, as named on the command line.
const (
	configTopic   = "topic"
	configBroker  = "broker"
	configGroup   = "group"
	configLogger  = "logger"
	configMetrics = "metrics"
)

var configKinds = map[string]kmsg.ConfigResourceType{
	configTopic:   kmsg.ConfigResourceTypeTopic,
	configBroker:  kmsg.ConfigResourceTypeBroker,
	configGroup:   kmsg.ConfigResourceTypeGroupConfig,
	configLogger:  kmsg.ConfigResourceTypeBrokerLogger,
	configMetrics: kmsg.ConfigResourceTypeClientMetrics,
}

func kindNames() []string { return sortedKeys(configKinds) }

func parseKind(s string) (string, error) {
	k := strings.TrimSuffix(s, "s")
	if s == configMetrics {
		k = s
	}
	if _, ok := configKinds[k]; ok {
		return k, nil
	}
	f := usagef("%q has no settings", s)
	f.Similar = similar(s, kindNames())
	return "", f.try("one of %s", strings.Join(kindNames(), ", "))
}

// entityName turns the name on the command line into the one on the wire: "default" brokers are "".
func entityName(kind, name string) string {
	if (kind == configBroker || kind == configLogger) && name == "default" {
		return ""
	}
	return name
}

type configRow struct {
	Key       string          `json:"key" col:"KEY"`
	Value     *string         `json:"value" col:"VALUE"`
	Source    string          `json:"source" col:"SOURCE"`
	Type      string          `json:"type,omitempty" col:"TYPE,wide"`
	ReadOnly  bool            `json:"read_only" col:"READ-ONLY,wide"`
	Sensitive bool            `json:"sensitive" col:"SENSITIVE,wide"`
	Synonyms  []configSynonym `json:"synonyms"`
	Doc       string          `json:"doc,omitempty"`
}

type configSynonym struct {
	Key    string  `json:"key"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

// sourceText says in words where a value comes from.
func sourceText(s kmsg.ConfigSource) string {
	switch s {
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "topic"
	case kmsg.ConfigSourceDynamicBrokerConfig:
		return "broker"
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return "all brokers"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "file"
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	case kmsg.ConfigSourceDynamicBrokerLoggerConfig:
		return "logger"
	case kmsg.ConfigSourceClientMetricsConfig:
		return "metrics"
	case kmsg.ConfigSourceGroupConfig:
		return "group"
	}
	return "unknown"
}

// ownSource says that a value was set on the entity itself.
func ownSource(s kmsg.ConfigSource) bool {
	switch s {
	case kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceDynamicBrokerConfig,
		kmsg.ConfigSourceDynamicDefaultBrokerConfig, kmsg.ConfigSourceDynamicBrokerLoggerConfig,
		kmsg.ConfigSourceClientMetricsConfig, kmsg.ConfigSourceGroupConfig:
		return true
	}
	return false
}

// ownConfigRows are the settings that a topic has itself.
func ownConfigRows(rc kadm.ResourceConfig) []configRow {
	var rows []configRow
	for _, c := range rc.Configs {
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
			rows = append(rows, configRow{Key: c.Key, Value: c.Value, Source: sourceText(c.Source),
				Sensitive: c.Sensitive})
		}
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
	return rows
}

// describeConfigs reads the settings of one entity, with synonyms and, where asked, documentation.
func (c *conn) describeConfigs(kind, name string, keys []string, docs bool) ([]configRow, error) {
	what := fmt.Sprintf("cannot read the settings of %s %q", kind, name)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, docs
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName = configKinds[kind], entityName(kind, name)
	res.ConfigNames = keys
	req.Resources = append(req.Resources, res)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.DescribeConfigsResponse, error) {
		if broker, ok := brokerOf(kind, name); ok {
			raw, err := c.cl.Broker(int(broker)).RetriableRequest(ctx, req)
			if err != nil {
				return nil, err
			}
			return raw.(*kmsg.DescribeConfigsResponse), nil
		}
		return req.RequestWith(ctx, c.cl)
	})
	if err != nil {
		return nil, err
	}
	if len(resp.Resources) != 1 {
		return nil, &Fault{What: what, Why: "the broker answered for another resource"}
	}
	r := resp.Resources[0]
	if err := errorForCode(r.ErrorCode); err != nil {
		return nil, c.configFault(what, kind, name, err, deref(r.ErrorMessage))
	}
	return configRowsOf(r.Configs), nil
}

func configRowsOf(configs []kmsg.DescribeConfigsResponseResourceConfig) []configRow {
	rows := make([]configRow, 0, len(configs))
	for _, cf := range configs {
		row := configRow{Key: cf.Name, Value: cf.Value, Source: sourceText(cf.Source), Sensitive: cf.IsSensitive,
			ReadOnly: cf.ReadOnly, Doc: deref(cf.Documentation), Type: strings.ToLower(cf.ConfigType.String())}
		for _, s := range cf.ConfigSynonyms {
			row.Synonyms = append(row.Synonyms, configSynonym{s.Name, s.Value, sourceText(s.Source)})
		}
		rows = append(rows, row)
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
	return rows
}

// brokerOf is the broker that must be asked itself about its settings.
func brokerOf(kind, name string) (int32, bool) {
	if kind != configBroker && kind != configLogger {
		return 0, false
	}
	n, err := strconv.ParseInt(name, 10, 32)
	return int32(n), err == nil
}

func (c *conn) configFault(what, kind, name string, err error, message string) error {
	f := kafkaFault(what, err, message)
	if kind == configTopic && f.Kafka == 3 {
		ctx, cancel := c.step()
		defer cancel()
		if all, lerr := c.ListTopicsWithInternal(ctx); lerr == nil {
			return noSuchTopic(name, all.Names(), false)
		}
	}
	return f
}

// configOps turns KEY=VALUE and KEY lists into changes. A value that begins with + or - after the
// "=" of a list setting would be ambiguous, so appending is written KEY+=VALUE and KEY-=VALUE.
func configOps(set, unset []string) ([]kadm.AlterConfig, error) {
	var ops []kadm.AlterConfig
	for _, kv := range set {
		k, v, err := splitPair(kv)
		if err != nil {
			return nil, usagef("setting %v", err)
		}
		op := kadm.SetConfig
		if body, ok := strings.CutSuffix(k, "+"); ok {
			k, op = body, kadm.AppendConfig
		} else if body, ok := strings.CutSuffix(k, "-"); ok {
			k, op = body, kadm.SubtractConfig
		}
		ops = append(ops, kadm.AlterConfig{Op: op, Name: k, Value: &v})
	}
	for _, k := range unset {
		if k == "" || strings.Contains(k, "=") {
			return nil, usagef("setting %q: want only the name of the setting to return to its default", k)
		}
		ops = append(ops, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
	}
	return ops, nil
}

type configChange struct {
	Entity string  `json:"name" col:"NAME"`
	Key    string  `json:"key" col:"KEY"`
	Before *string `json:"before" col:"BEFORE"`
	After  *string `json:"after" col:"AFTER"`
	Status string  `json:"status" col:"STATUS"`
}

// alterConfigs applies the changes to each named entity and prints values before and after.
func (c *conn) alterConfigs(kind string, names []string, ops []kadm.AlterConfig, dryRun bool) error {
	var rows []configChange
	var results []itemResult
	keys := make([]string, len(ops))
	for i, op := range ops {
		keys[i] = op.Name
	}
	for _, name := range names {
		res := itemResult{Name: kind + " " + name}
		before, err := c.describeConfigs(kind, name, nil, false)
		if err == nil {
			err = c.checkKeys(kind, c.knownRows(kind, name, before), keys)
		}
		if err == nil {
			err = c.alterOne(kind, name, ops, dryRun)
		}
		if err != nil {
			res.fail(asFault(fmt.Sprintf("cannot change the settings of %s %q", kind, name), err))
		}
		results = append(results, res)
		rows = append(rows, c.changesOf(kind, name, ops, before, dryRun, err != nil)...)
	}
	err := finish("cannot change the settings of all of them", results)
	if err != nil && len(results) == 1 {
		return err
	}
	if eerr := c.app.emit(rows); eerr != nil {
		return eerr
	}
	return err
}

// knownRows are all the settings that an entity may have. Those of all brokers together are what was set for them only,
// so a broker is asked instead.
func (c *conn) knownRows(kind, name string, its []configRow) []configRow {
	if _, one := brokerOf(kind, name); kind != configBroker || one {
		return its
	}
	ctx, cancel := c.step()
	defer cancel()
	md, err := c.BrokerMetadata(ctx)
	if err != nil || len(md.Brokers) == 0 {
		return nil
	}
	rows, err := c.describeConfigs(kind, strconv.Itoa(int(md.Brokers[0].NodeID)), nil, false)
	if err != nil {
		return nil
	}
	return rows
}

// checkKeys catches misspelt settings before the broker does, to name the nearest one. An entity
// that lists nothing (a group without settings) cannot be checked.
func (c *conn) checkKeys(kind string, known []configRow, keys []string) error {
	if kind != configTopic && kind != configBroker || len(known) == 0 {
		return nil
	}
	names := make([]string, len(known))
	for i, r := range known {
		names[i] = r.Key
	}
	for _, k := range keys {
		if !slices.Contains(names, k) && len(similar(k, names)) > 0 {
			return &Fault{What: fmt.Sprintf("%q is not a setting of a %s", k, kind), Exit: exitUsage,
				Similar: similar(k, names)}
		}
	}
	return nil
}

func (c *conn) alterOne(kind, name string, ops []kadm.AlterConfig, dryRun bool) error {
	what := fmt.Sprintf("cannot change the settings of %s %q", kind, name)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = dryRun
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = configKinds[kind], entityName(kind, name)
	for _, op := range ops {
		cf := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		cf.Name, cf.Op, cf.Value = op.Name, kmsg.IncrementalAlterConfigOp(op.Op), op.Value
		res.Configs = append(res.Configs, cf)
	}
	req.Resources = append(req.Resources, res)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.IncrementalAlterConfigsResponse, error) {
		if broker, ok := brokerOf(kind, name); ok {
			raw, err := c.cl.Broker(int(broker)).RetriableRequest(ctx, req)
			if err != nil {
				return nil, err
			}
			return raw.(*kmsg.IncrementalAlterConfigsResponse), nil
		}
		return req.RequestWith(ctx, c.cl)
	})
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		if err := errorForCode(r.ErrorCode); err != nil {
			return kafkaFault(what, err, deref(r.ErrorMessage))
		}
	}
	return nil
}

func (c *conn) changesOf(kind, name string, ops []kadm.AlterConfig, before []configRow, dryRun,
	failed bool) []configChange {
	after := before
	status := "changed"
	switch {
	case failed:
		status = "failed"
	case dryRun:
		status = "would be changed"
	default:
		after = c.settled(kind, name, ops, before)
	}
	var out []configChange
	for _, op := range ops {
		ch := configChange{Entity: name, Key: op.Name, Before: valueOf(before, op.Name),
			After: valueOf(after, op.Name), Status: status}
		if dryRun && op.Op == kadm.SetConfig {
			ch.After = op.Value
		}
		out = append(out, ch)
	}
	return out
}

// The broker that is asked may hear of a change a moment after the controller has made it.
const (
	settleTries = 20
	settlePause = 50 * time.Millisecond
)

// settled are the settings after a change, as soon as the broker that is asked shows what was set. What never shows so (a broker
// may write a value in another way, or hide it) is told as it is found in the end.
func (c *conn) settled(kind, name string, ops []kadm.AlterConfig, before []configRow) []configRow {
	after := before
	for range settleTries {
		rows, err := c.describeConfigs(kind, name, nil, false)
		if err != nil {
			return after
		}
		if after = rows; shows(rows, ops) {
			break
		}
		time.Sleep(settlePause)
	}
	return after
}

// shows says whether all that was set to a value has it; hidden values have any.
func shows(rows []configRow, ops []kadm.AlterConfig) bool {
	for _, op := range ops {
		if op.Op != kadm.SetConfig {
			continue
		}
		i := slices.IndexFunc(rows, func(r configRow) bool { return r.Key == op.Name })
		if i < 0 || !rows[i].Sensitive && deref(rows[i].Value) != deref(op.Value) {
			return false
		}
	}
	return true
}

func valueOf(rows []configRow, key string) *string {
	for _, r := range rows {
		if r.Key == key {
			return r.Value
		}
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

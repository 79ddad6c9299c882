package cli

import (
	"context"
	"fmt"
	"sort"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type topicCreated struct {
	Name       string `json:"name" col:"TOPIC"`
	Status     string `json:"status" col:"STATUS"`
	Partitions int32  `json:"partitions" col:"PARTITIONS,count"`
	Replicas   int16  `json:"replication_factor" col:"REPLICAS,count"`
	ID         string `json:"id,omitempty" col:"ID,wide"`
	Error      string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode  int16  `json:"kafka_code,omitempty"`
}

type topicCreateFlags struct {
	partitions  int32
	replicas    int16
	configs     []string
	ifNotExists bool
	dryRun      bool
}

func topicCreateCmd(a *App) *cobra.Command {
	var fl topicCreateFlags
	c := &cobra.Command{
		Use:   "create TOPIC...",
		Short: "Create topics",
		Long: `Create one or more topics. Without -p and -r the broker's own defaults apply (num.partitions and
default.replication.factor).`,
		Example: examples(
			"", "logstead topic create orders",
			"six partitions, kept for a week", "logstead topic create orders -p 6 -C retention.ms=604800000",
			"a table: only the newest record of each key is kept", "logstead topic create users -C cleanup.policy=compact",
			"in a script that may run twice", "logstead topic create orders --if-not-exists"),
		Args: minArgs("TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.topicCreate(cmd, args, fl) },
	}
	f := c.Flags()
	f.Int32VarP(&fl.partitions, "partitions", "p", -1, "number of partitions (-1: the broker's default)")
	f.Int16VarP(&fl.replicas, "replicas", "r", -1, "copies of each partition (-1: the broker's default)")
	f.StringArrayVarP(&fl.configs, "config", "C", nil, "topic setting `KEY=VALUE` (see logstead config describe)")
	f.BoolVar(&fl.ifNotExists, "if-not-exists", false, "an existing topic is no error")
	f.BoolVar(&fl.dryRun, "dry-run", false, "let the broker check the request, and create nothing")
	return c
}

func (a *App) topicCreate(cmd *cobra.Command, names []string, fl topicCreateFlags) error {
	configs, err := configMap(fl.configs)
	if err != nil {
		return err
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	resps, err := call(cn, "cannot create topics", func(ctx context.Context) (kadm.CreateTopicResponses, error) {
		if fl.dryRun {
			return cn.ValidateCreateTopics(ctx, fl.partitions, fl.replicas, configs, names...)
		}
		return cn.CreateTopics(ctx, fl.partitions, fl.replicas, configs, names...)
	})
	if err != nil {
		return err
	}
	return a.topicCreated(resps, fl)
}

func (a *App) topicCreated(resps kadm.CreateTopicResponses, fl topicCreateFlags) error {
	var rows []topicCreated
	var results []itemResult
	for _, name := range sortedKeys(resps) {
		r := resps[name]
		row := topicCreated{Name: r.Topic, Status: "created", Partitions: r.NumPartitions,
			Replicas: r.ReplicationFactor}
		res := itemResult{Name: r.Topic}
		switch {
		case fl.dryRun && r.Err == nil:
			row.Status = "would be created"
		case kafkaCode(r.Err) == 36 && fl.ifNotExists:
			row.Status, row.Partitions, row.Replicas = "exists", -1, -1
		case r.Err != nil:
			f := kafkaFault(fmt.Sprintf("cannot create topic %q", r.Topic), r.Err, r.ErrMessage)
			res.fail(f)
			row.Status, row.Error, row.ErrorCode = "failed", res.Error, res.ErrorCode
			row.Partitions, row.Replicas = -1, -1
		default:
			row.ID = topicIDText(r.ID)
		}
		rows, results = append(rows, row), append(results, res)
	}
	err := finish("cannot create every topic", results)
	if err != nil && len(results) == 1 {
		return err // the message says it all: no table with one failed row
	}
	if eerr := a.emit(rows); eerr != nil {
		return eerr
	}
	return err
}

// configMap reads KEY=VALUE settings.
func configMap(pairs []string) (map[string]*string, error) {
	out := map[string]*string{}
	for _, kv := range pairs {
		k, v, err := splitPair(kv)
		if err != nil {
			return nil, usagef("setting %v", err)
		}
		out[k] = &v
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

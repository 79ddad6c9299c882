package api

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeConfigs (key 32), versions 1 to 4.
//
// Topics, brokers, broker loggers, groups and client metrics subscriptions. The broker "" has the
// cluster-wide dynamic configs only; another broker's name is INVALID_REQUEST. A group or a
// subscription need not exist to be described.
//
//	v3  types, and documentation on request
var _ = register(kmsg.KeyDescribeConfigs, (*Broker).describeConfigs)

func (b *Broker) describeConfigs(c *Call, req *kmsg.DescribeConfigsRequest) {
	resp := kmsg.NewDescribeConfigsResponse()
	var refused []kmsg.DescribeConfigsResponseDescribeConfigsResult
	im := b.Image()
	for i := range req.Resources {
		in := &req.Resources[i]
		res := kmsg.NewDescribeConfigsResponseDescribeConfigsResult()
		res.ResourceType, res.ResourceName = in.ResourceType, in.ResourceName
		if err := c.mayConfigs(auth.DescribeConfigs, in.ResourceType, in.ResourceName); err != nil {
			res.ErrorCode, res.ErrorMessage = c.code(err), message(err)
			refused = append(refused, res)
			continue
		}
		entries, err := b.configEntries(im, meta.Resource{Type: meta.ResourceType(in.ResourceType), Name: in.ResourceName})
		if err != nil {
			res.ErrorCode = c.code(err)
			if err != errNoTopic {
				res.ErrorMessage = message(err)
			}
			entries = nil
		}
		for _, e := range entries {
			if len(in.ConfigurationKeys) == 0 || slices.Contains(in.ConfigurationKeys, e.Name) {
				res.Configs = append(res.Configs, describeEntry(e, req))
			}
		}
		resp.Results = append(resp.Results, res)
	}
	resp.Results = append(resp.Results, refused...)
	c.Reply(&resp)
}

// errNoTopic goes without a text, as in Kafka.
var errNoTopic error = kerr.UnknownTopicOrPartition

func (b *Broker) configEntries(im *meta.Image, r meta.Resource) ([]conf.Entry, error) {
	live, set := b.Admin.Conf(), im.Configs(r)
	switch r.Type {
	case meta.ResourceTopic:
		if err := controller.CheckTopicName(r.Name); err != nil {
			return nil, err
		}
		if im.Topic(r.Name) == nil {
			return nil, errNoTopic
		}
		return live.DescribeTopic(set), nil
	case meta.ResourceBroker:
		if r.Name == "" {
			return live.DescribeClusterDefault(), nil
		}
		return live.DescribeBroker(), conf.CheckBrokerName(r.Name, b.NodeID)
	case meta.ResourceBrokerLogger:
		if err := b.checkLoggerResource(r.Name); err != nil {
			return nil, err
		}
		return conf.DescribeLoggers(b.loggers()), nil
	case meta.ResourceGroup:
		return live.DescribeGroup(set), notEmpty(r.Name, "group")
	case meta.ResourceClientMetrics:
		return live.DescribeClientMetrics(set), notEmpty(r.Name, "client metrics subscription")
	}
	return nil, refuse(kerr.InvalidRequest, "resource type %d: want 2 (topic), 4 (broker), 8 (broker logger), "+
		"16 (client metrics) or 32 (group)", r.Type)
}

func notEmpty(name, what string) error {
	if name == "" {
		return refuse(kerr.InvalidRequest, "a %s needs a name", what)
	}
	return nil
}

func describeEntry(e conf.Entry, req *kmsg.DescribeConfigsRequest,
) kmsg.DescribeConfigsResponseDescribeConfigsResourceResult {
	out := kmsg.NewDescribeConfigsResponseDescribeConfigsResourceResult()
	out.Name, out.Value, out.ReadOnly, out.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	out.ConfigSource, out.ConfigType = int8(e.Source), int8(e.Type)
	switch {
	case e.Source == conf.SourceBrokerLogger: // an empty text rather than none, as in Kafka
	case req.IncludeDocumentation:
		out.Documentation = &e.Doc
	default:
		out.Documentation = nil
	}
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			out.Synonyms = append(out.Synonyms, kmsg.DescribeConfigsResponseDescribeConfigsSynonym{
				Name: s.Name, Value: s.Value, Source: int8(s.Source),
			})
		}
	}
	return out
}

// checkLoggerResource checks the name of a broker logger resource: this node's id.
func (b *Broker) checkLoggerResource(name string) error {
	if own := fmt.Sprint(b.NodeID); name != own {
		return refuse(kerr.InvalidRequest, "broker %q: this broker is %s", name, own)
	}
	return nil
}

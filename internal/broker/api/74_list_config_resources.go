package api

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ListConfigResources (key 74), versions 0 and 1.
//
// Names what DescribeConfigs can describe: every topic, broker and broker logger, and the groups and
// client metrics subscriptions that have configs.
//
//	v0  client metrics subscriptions only
//	v1  the types asked for, all if none (KIP-1142)
var _ = register(kmsg.KeyListConfigResources, (*Broker).listConfigResources)

var listableResources = []meta.ResourceType{
	meta.ResourceTopic, meta.ResourceBroker, meta.ResourceBrokerLogger, meta.ResourceClientMetrics, meta.ResourceGroup,
}

func (b *Broker) listConfigResources(c *Call, req *kmsg.ListConfigResourcesRequest) {
	resp := kmsg.NewListConfigResourcesResponse()
	if !c.mayCluster(auth.DescribeConfigs) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	types := make([]meta.ResourceType, 0, len(listableResources))
	for _, t := range req.ResourceTypes {
		types = append(types, meta.ResourceType(t))
	}
	switch {
	case c.Version == 0:
		types = append(types[:0], meta.ResourceClientMetrics)
	case len(types) == 0:
		types = listableResources
	}
	for _, t := range types {
		if !slices.Contains(listableResources, t) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			c.Reply(&resp)
			return
		}
	}
	im := b.Image()
	for _, t := range listableResources {
		if !slices.Contains(types, t) {
			continue
		}
		for _, name := range resourceNames(im, t) {
			resp.ConfigResources = append(resp.ConfigResources,
				kmsg.ListConfigResourcesResponseConfigResource{ResourceName: name, ResourceType: int8(t)})
		}
	}
	c.Reply(&resp)
}

func resourceNames(im *meta.Image, t meta.ResourceType) (names []string) {
	switch t {
	case meta.ResourceTopic:
		return im.TopicNames()
	case meta.ResourceBroker, meta.ResourceBrokerLogger:
		for _, br := range im.Brokers() {
			names = append(names, fmt.Sprint(br.ID))
		}
		return names
	}
	for r := range im.ConfigResources() {
		if r.Type == t {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

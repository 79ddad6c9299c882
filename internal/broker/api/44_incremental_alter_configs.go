package api

import (
	"errors"
	"maps"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// IncrementalAlterConfigs (key 44), versions 0 and 1.
//
// Sets, removes, appends to or subtracts from single configs. Log levels are this process's own and
// never reach the metadata; everything else is the controller's.
var _ = register(kmsg.KeyIncrementalAlterConfigs, (*Broker).incrementalAlterConfigs)

type (
	alterResource = kmsg.IncrementalAlterConfigsRequestAlterConfigsResource
	alterResult   = kmsg.IncrementalAlterConfigsResponseAlterConfigsResourceResponse
)

func (b *Broker) incrementalAlterConfigs(c *Call, req *kmsg.IncrementalAlterConfigsRequest) {
	var own []alterResult
	rest := *req
	rest.Resources = nil
	loggers := 0
	for i := range req.Resources {
		if isLogger(&req.Resources[i]) {
			loggers++
		}
	}
	times := timesNamed(req.Resources, alterName)
	for i := range req.Resources {
		r := &req.Resources[i]
		var err error
		switch {
		case isLogger(r) && loggers == 1:
			if err = c.mayAlterLoggers(); err == nil {
				err = b.alterLoggers(r, req.ValidateOnly)
			}
		case isLogger(r):
			err = refuse(kerr.InvalidRequest, "the loggers of broker %s are in the request more than once", r.ResourceName)
		default:
			ops := make([]conf.Op, len(r.Configs))
			for j, x := range r.Configs {
				ops[j] = conf.Op{Kind: conf.OpKind(x.ConfigOperation), Name: x.Name, Value: x.Value}
			}
			if res := alterName(*r); times[res] == 1 {
				err = b.checkAlter(c, res, ops, (*conf.Live).Incremental)
			}
			if err == nil {
				rest.Resources = append(rest.Resources, *r)
				continue
			}
		}
		own = append(own, alterResult{
			ErrorCode: c.code(err), ErrorMessage: message(err), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
		})
	}
	failed := func(e itemError) *kmsg.IncrementalAlterConfigsResponse {
		resp := kmsg.NewIncrementalAlterConfigsResponse()
		resp.Responses = own
		for _, r := range rest.Resources {
			resp.Responses = append(resp.Responses, alterResult{
				ErrorCode: e.code, ErrorMessage: e.text, ResourceType: r.ResourceType, ResourceName: r.ResourceName,
			})
		}
		return &resp
	}
	if len(own) > 0 { // what is for the controller is all that it is sent
		w := &kmsg.Writer{}
		rest.Append(w, c.Version)
		c.Body = w.Buf
	}
	decideThen(c, func(m *controller.Machine) ([]kmsg.Record, *kmsg.IncrementalAlterConfigsResponse) {
		allowed := rest
		var refused []alterResult
		allowed.Resources = c.mayAlter(rest.Resources, times, &refused)
		records, resp := m.IncrementalAlterConfigs(&allowed)
		resp.Responses = append(resp.Responses, refused...)
		return records, resp
	}, failed, func(resp *kmsg.IncrementalAlterConfigsResponse) {
		resp.Responses = append(resp.Responses, own...)
	})
}

// isOther says whether a resource is another broker than this one: clients ask the broker that is meant.
func (b *Broker) isOther(kind int8, name string) bool {
	if meta.ResourceType(kind) != meta.ResourceBroker {
		return false
	}
	id, err := strconv.ParseInt(name, 10, 32)
	return err == nil && int32(id) != b.NodeID && b.Image().Broker(int32(id)) != nil
}

// checkAlter is what a broker refuses of a change of configs before anybody asks whether the client may make it, as Kafka's
// ConfigAdminManager: what no resource takes, what is another broker's, and what no broker may have. A controller that is asked itself
// refuses nothing here.
func (b *Broker) checkAlter(c *Call, res configResource, ops []conf.Op,
	how func(*conf.Live, conf.Target, []conf.Op) ([]conf.Change, error),
) error {
	if c.Conn.Controller {
		return nil
	}
	if err := conf.CheckOps(ops); err != nil {
		return err
	}
	if b.isOther(res.kind, res.name) {
		return conf.CheckBrokerName(res.name, b.NodeID)
	}
	if meta.ResourceType(res.kind) != meta.ResourceBroker || res.name != "" && res.name != strconv.Itoa(int(b.NodeID)) {
		return nil
	}
	now := b.Image().Configs(meta.Resource{Type: meta.ResourceBroker, Name: res.name})
	changes, err := how(b.Admin.Conf(), conf.Target{Scope: conf.ScopeBroker, Name: res.name, Current: now}, ops)
	switch {
	case errors.Is(err, kerr.InvalidRequest):
		return err
	case err != nil || res.name == "" || b.Admin.CheckOwn == nil:
		return nil // what else is wrong the controller says
	}
	own := maps.Clone(now)
	if own == nil {
		own = map[string]string{}
	}
	for _, x := range changes {
		if delete(own, x.Name); x.Value != nil {
			own[x.Name] = *x.Value
		}
	}
	if err := b.Admin.CheckOwn(own); err != nil {
		return refuse(kerr.InvalidRequest, "%s", err.Error())
	}
	return nil
}

func isLogger(r *alterResource) bool {
	return meta.ResourceType(r.ResourceType) == meta.ResourceBrokerLogger
}

// mayAlterLoggers is why the client may not change log levels. On a controller that is of who acts for the cluster.
func (c *Call) mayAlterLoggers() error {
	needs := auth.AlterConfigs
	if c.Conn.Controller {
		needs = auth.ClusterAction
	}
	if !c.mayCluster(needs) {
		return unauthorized(auth.Cluster)
	}
	return nil
}

// configResource names what configs belong to.
type configResource struct {
	kind int8
	name string
}

func alterName(r alterResource) configResource { return configResource{r.ResourceType, r.ResourceName} }

// timesNamed says how often each resource is in a request. One that is there twice is refused for that alone.
func timesNamed[R any](all []R, of func(R) configResource) map[configResource]int {
	times := map[configResource]int{}
	for _, r := range all {
		times[of(r)]++
	}
	return times
}

// mayAlter takes out resources whose configs the client may not alter.
func (c *Call) mayAlter(all []alterResource, times map[configResource]int, refused *[]alterResult) []alterResource {
	return alterable(c, all, times, alterName, func(r configResource, err error) {
		*refused = append(*refused, alterResult{
			ErrorCode: c.code(err), ErrorMessage: message(err), ResourceType: r.kind, ResourceName: r.name,
		})
	})
}

// alterable are the resources whose configs the client may alter; refuse hears of the others. One that is there twice is
// left in: it is refused for that.
func alterable[R any](
	c *Call, all []R, times map[configResource]int, of func(R) configResource, refuse func(configResource, error),
) (allowed []R) {
	for _, r := range all {
		res, err := of(r), error(nil)
		if times[res] == 1 {
			err = c.mayConfigs(auth.AlterConfigs, res.kind, res.name)
		}
		if err != nil {
			refuse(res, err)
			continue
		}
		allowed = append(allowed, r)
	}
	return allowed
}

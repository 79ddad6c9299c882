package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Access control. Every handler asks whether its client may, in the order and with the answers of Kafka's KafkaApis and
// ControllerApis; what the active controller decides, that one authorises, as who passes it on says for whom it does
// (KIP-590). Without an authorizer a question is one nil check.

// subject is on whose behalf the call is made, as the authorizer sees it.
func (c *Call) subject() auth.Subject {
	return auth.Subject{Principal: c.principal(), Host: c.Conn.host(), Request: kmsg.ByKey(c.Key).Name}
}

// may says whether the client may do the operation. A refusal is logged and counted.
func (c *Call) may(op auth.Operation, res auth.Resource, name string) bool {
	a := c.broker.Authorizer
	return a == nil || a.Authorize(c.subject(), op, res, name)
}

// sees is may for what the client did not ask for: nothing is logged.
func (c *Call) sees(op auth.Operation, res auth.Resource, name string) bool {
	a := c.broker.Authorizer
	return a == nil || a.May(c.subject(), op, res, name)
}

func (c *Call) mayTopic(op auth.Operation, topic string) bool { return c.may(op, auth.Topic, topic) }
func (c *Call) mayGroup(op auth.Operation, group string) bool { return c.may(op, auth.Group, group) }
func (c *Call) mayTxn(op auth.Operation, id string) bool      { return c.may(op, auth.TransactionalID, id) }
func (c *Call) mayCluster(op auth.Operation) bool             { return c.may(op, auth.Cluster, auth.ClusterName) }
func (c *Call) seesCluster(op auth.Operation) bool            { return c.sees(op, auth.Cluster, auth.ClusterName) }

// mayAnywhere says whether the client may do the operation on any resource of a type.
func (c *Call) mayAnywhere(op auth.Operation, res auth.Resource) bool {
	a := c.broker.Authorizer
	return a == nil || a.MayAnywhere(c.subject(), op, res)
}

// needCluster is why the client may not do the operation on the cluster; nil if it may.
func (c *Call) needCluster(op auth.Operation) error {
	if c.mayCluster(op) {
		return nil
	}
	return refuse(kerr.ClusterAuthorizationFailed, "%s of %s needs the operation %s on the cluster (resource Cluster:%s)",
		kmsg.ByKey(c.Key).Name, c.principal(), op, auth.ClusterName)
}

// authorizedOperations are those on a resource that the client is allowed, as bits by number.
func (c *Call) authorizedOperations(res auth.Resource, name string) int32 {
	if a := c.broker.Authorizer; a != nil {
		return a.AuthorizedOperations(c.subject(), res, name)
	}
	bits := int32(0)
	for _, op := range auth.Operations(res) {
		bits |= 1 << uint(op)
	}
	return bits
}

// clusterOperations are the authorized operations on the cluster, for who may describe it.
func (c *Call) clusterOperations() int32 {
	if !c.mayCluster(auth.Describe) {
		return 0
	}
	return c.authorizedOperations(auth.Cluster, auth.ClusterName)
}

// canDescribe is sees for topics and for longer than the call lives; nil is all.
func (c *Call) canDescribe() func(topic string) bool {
	a := c.broker.Authorizer
	if a == nil {
		return nil
	}
	s := c.subject()
	return func(topic string) bool { return a.May(s, auth.Describe, auth.Topic, topic) }
}

// unauthorized is the error of a resource that the client may not use, in Kafka's words.
func unauthorized(res auth.Resource) error {
	switch res {
	case auth.Topic:
		return refuse(kerr.TopicAuthorizationFailed, "Topic authorization failed.")
	case auth.Group:
		return refuse(kerr.GroupAuthorizationFailed, "Group authorization failed.")
	case auth.TransactionalID:
		return refuse(kerr.TransactionalIDAuthorizationFailed, "Transactional Id authorization failed.")
	case auth.Cluster:
		return refuse(kerr.ClusterAuthorizationFailed, "Cluster authorization failed.")
	}
	panic(fmt.Sprintf("api: no error for %s", res))
}

// ofConfigs is the resource that an operation on configs is about. Those of brokers, their loggers and client metrics are
// of the cluster.
func ofConfigs(kind int8, name string) (auth.Resource, string) {
	switch meta.ResourceType(kind) {
	case meta.ResourceTopic:
		return auth.Topic, name
	case meta.ResourceGroup:
		return auth.Group, name
	}
	return auth.Cluster, auth.ClusterName
}

// mayConfigs is why the client may not do the operation on the configs of a resource; nil if it may. What is no resource
// with configs is for who knows those.
func (c *Call) mayConfigs(op auth.Operation, kind int8, name string) error {
	switch meta.ResourceType(kind) {
	case meta.ResourceTopic, meta.ResourceGroup, meta.ResourceBroker, meta.ResourceBrokerLogger, meta.ResourceClientMetrics:
	default:
		return nil
	}
	if res, name := ofConfigs(kind, name); !c.may(op, res, name) {
		return unauthorized(res)
	}
	return nil
}

// decideAs is decide for what the client needs an operation on the cluster for.
func decideAs[R kmsg.Response](
	c *Call, needs auth.Operation, op func(*controller.Machine) ([]kmsg.Record, R), failed func(itemError) R,
) {
	decide(c, func(m *controller.Machine) ([]kmsg.Record, R) {
		if err := c.needCluster(needs); err != nil {
			return nil, failed(itemError{c.code(err), message(err)})
		}
		return op(m)
	}, failed)
}

// permit fills in what a request to the controller may do to which topics.
func (c *Call) permit(r controller.Request) controller.Request {
	if c.broker.Authorizer == nil {
		return r
	}
	all := func(op auth.Operation, once func(string) bool) func(string) bool {
		var asked, yes bool
		return func(topic string) bool {
			if !asked { // by the first topic: no other request asks
				asked, yes = true, c.seesCluster(op)
			}
			return yes || once(topic)
		}
	}
	may := func(op auth.Operation) func(string) bool {
		return func(topic string) bool { return c.mayTopic(op, topic) }
	}
	r.Creatable = all(auth.Create, may(auth.Create))
	r.Deletable = all(auth.Delete, may(auth.Delete))
	r.Visible = all(auth.Delete, may(auth.Describe))
	r.Growable = may(auth.Alter)
	r.Describable = func(topic string) bool { return c.sees(auth.DescribeConfigs, auth.Topic, topic) }
	return r
}

// privateSubject is subject for an API that only nodes of this cluster know.
func (c *Call) privateSubject() auth.Subject {
	return auth.Subject{Principal: c.principal(), Host: c.Conn.host(), Request: fmt.Sprintf("API key %d", c.Key)}
}

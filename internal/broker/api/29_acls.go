package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeAcls, CreateAcls and DeleteAcls (keys 29, 30, 31), versions 1 to 3.
//
// Access control entries are metadata: a broker describes those that it acts on, the active controller makes and removes
// them. A request with a number 0 for something unknown is none, and ends the connection. Without an authorizer every
// question and every item is answered with SECURITY_DISABLED.
//
//	v2  flexible
//	v3  the resource USER
var (
	_ = register(kmsg.KeyDescribeAcls, (*Broker).describeACLs)
	_ = register(kmsg.KeyCreateAcls, (*Broker).createACLs)
	_ = register(kmsg.KeyDeleteAcls, (*Broker).deleteACLs)
)

const noAuthorizer = "No Authorizer is configured on this broker."

// unknownElements ends a connection as Kafka does, which cannot read such a request.
const unknownElements = "access control entries with unknown elements"

func (b *Broker) describeACLs(c *Call, req *kmsg.DescribeAclsRequest) {
	if req.PatternTypeFilter == 0 || req.ResourceTypeFilter == 0 || req.PermissionType == 0 || req.Operation == 0 {
		c.Hangup(unknownElements)
		return
	}
	resp := kmsg.NewDescribeAclsResponse()
	if b.Authorizer == nil {
		resp.ErrorCode, resp.ErrorMessage = kerr.SecurityDisabled.Code, new(noAuthorizer)
		c.Reply(&resp)
		return
	}
	if err := c.needCluster(auth.Describe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
		return
	}
	f := &meta.ACLFilter{
		ResourceType: meta.ACLResource(req.ResourceTypeFilter), ResourceName: req.ResourceNameFilter,
		PatternType: meta.ACLPattern(req.PatternTypeFilter), Principal: req.PrincipalFilter, Host: req.HostFilter,
		Operation: meta.ACLOperation(req.Operation), PermissionType: meta.ACLPermission(req.PermissionType),
	}
	for _, a := range controller.SortedACLs(b.Image()) {
		if f.Matches(a) {
			addACL(&resp, a)
		}
	}
	c.Reply(&resp)
}

// addACL adds an entry below its resource, which is that of the entry before or a new one.
func addACL(resp *kmsg.DescribeAclsResponse, a *meta.ACL) {
	n := len(resp.Resources)
	if n == 0 || resp.Resources[n-1].ResourceType != int8(a.ResourceType) || resp.Resources[n-1].ResourceName != a.ResourceName ||
		resp.Resources[n-1].PatternType != int8(a.PatternType) {
		resp.Resources = append(resp.Resources, kmsg.DescribeAclsResponseDescribeAclsResource{
			ResourceType: int8(a.ResourceType), ResourceName: a.ResourceName, PatternType: int8(a.PatternType),
		})
		n++
	}
	of := &resp.Resources[n-1]
	of.Acls = append(of.Acls, kmsg.DescribeAclsResponseAclDescription{
		Principal: a.Principal, Host: a.Host, Operation: int8(a.Operation), PermissionType: int8(a.PermissionType),
	})
}

func (b *Broker) createACLs(c *Call, req *kmsg.CreateAclsRequest) {
	for i := range req.Creations {
		if a := &req.Creations[i]; a.ResourcePatternType == 0 || a.ResourceType == 0 || a.PermissionType == 0 || a.Operation == 0 {
			c.Hangup(unknownElements)
			return
		}
	}
	failed := func(e itemError) *kmsg.CreateAclsResponse {
		resp := kmsg.NewCreateAclsResponse()
		for range req.Creations {
			resp.Results = append(resp.Results, kmsg.CreateAclsResponseAclCreationResult{ErrorCode: e.code, ErrorMessage: e.text})
		}
		return &resp
	}
	b.decideACLs(c, func(m *controller.Machine) ([]kmsg.Record, kmsg.Response) { return m.CreateACLs(req) },
		func(e itemError) kmsg.Response { return failed(e) })
}

func (b *Broker) deleteACLs(c *Call, req *kmsg.DeleteAclsRequest) {
	for i := range req.Filters {
		if f := &req.Filters[i]; f.PatternTypeFilter == 0 || f.ResourceTypeFilter == 0 || f.PermissionType == 0 || f.Operation == 0 {
			c.Hangup(unknownElements)
			return
		}
	}
	failed := func(e itemError) *kmsg.DeleteAclsResponse {
		resp := kmsg.NewDeleteAclsResponse()
		for range req.Filters {
			resp.FilterResults = append(resp.FilterResults, kmsg.DeleteAclsResponseDeleteAclsFilterResult{ErrorCode: e.code, ErrorMessage: e.text})
		}
		return &resp
	}
	b.decideACLs(c, func(m *controller.Machine) ([]kmsg.Record, kmsg.Response) { return m.DeleteACLs(req) },
		func(e itemError) kmsg.Response { return failed(e) })
}

// decideACLs has the active controller change entries, where that has an authorizer.
func (b *Broker) decideACLs(
	c *Call, op func(*controller.Machine) ([]kmsg.Record, kmsg.Response), failed func(itemError) kmsg.Response,
) {
	decideAs(c, auth.Alter, func(m *controller.Machine) ([]kmsg.Record, kmsg.Response) {
		if b.Authorizer == nil {
			return nil, failed(itemError{kerr.SecurityDisabled.Code, new(noAuthorizer)})
		}
		return op(m)
	}, failed)
}

package controller

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CreateACLs enters access control entries; each has its own answer. One that is there already is no error, and is not
// entered again.
func (m *Machine) CreateACLs(req *kmsg.CreateAclsRequest) ([]kmsg.Record, *kmsg.CreateAclsResponse) {
	resp := kmsg.NewCreateAclsResponse()
	known := map[meta.ACL]bool{}
	for a := range m.image().ACLs() {
		plain := *a
		plain.ID = [16]byte{}
		known[plain] = true
	}
	var records []kmsg.Record
	for i := range req.Creations {
		acl := newACL(&req.Creations[i])
		err := checkACL(&acl)
		if err == nil && !known[acl] {
			known[acl] = true
			records = append(records, &kmsg.AccessControlEntryRecord{
				Id: m.cfg.NewID(), ResourceType: int8(acl.ResourceType), ResourceName: acl.ResourceName,
				PatternType: int8(acl.PatternType), Principal: acl.Principal, Host: acl.Host,
				Operation: int8(acl.Operation), PermissionType: int8(acl.PermissionType),
			})
		}
		result := kmsg.NewCreateAclsResponseAclCreationResult()
		if err != nil {
			result.ErrorCode, result.ErrorMessage = Code(err)
		}
		resp.Results = append(resp.Results, result)
	}
	if len(records) > MaxRecordsPerOp {
		code, text := Code(refuse(kerr.PolicyViolation, "Unable to perform excessively large batch operation."))
		for i := range resp.Results {
			resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = code, text
		}
		return nil, &resp
	}
	return records, &resp
}

func newACL(c *kmsg.CreateAclsRequestAclCreation) meta.ACL {
	return meta.ACL{
		ResourceType: meta.ACLResource(c.ResourceType), ResourceName: c.ResourceName, PatternType: meta.ACLPattern(c.ResourcePatternType),
		Principal: c.Principal, Host: c.Host, Operation: meta.ACLOperation(c.Operation), PermissionType: meta.ACLPermission(c.PermissionType),
	}
}

// checkACL checks in the order, and with the words, of Kafka's AclApis and AclControlManager.
func checkACL(a *meta.ACL) error {
	switch {
	case a.ResourceType == meta.ACLCluster && a.ResourceName != meta.ACLClusterName:
		return refuse(kerr.InvalidRequest, "The only valid name for the CLUSTER resource is %s", meta.ACLClusterName)
	case a.ResourceName == "":
		return refuse(kerr.InvalidRequest, "Invalid empty resource name")
	case !a.ResourceType.Known() || a.ResourceType == meta.ACLAnyResource:
		return refuse(kerr.InvalidRequest, "Invalid resourceType %s", a.ResourceType)
	case a.PatternType != meta.ACLLiteral && a.PatternType != meta.ACLPrefixed:
		return refuse(kerr.InvalidRequest, "Invalid patternType %s", a.PatternType)
	case !a.Operation.Known() || a.Operation == meta.ACLAnyOperation:
		return refuse(kerr.InvalidRequest, "Invalid operation %s", a.Operation)
	case a.PermissionType != meta.ACLDeny && a.PermissionType != meta.ACLAllow:
		return refuse(kerr.InvalidRequest, "Invalid permissionType %s", a.PermissionType)
	case !strings.Contains(a.Principal, ":"):
		return refuse(kerr.InvalidRequest, "Could not parse principal from `%s` (no colon is present separating the principal type "+
			"from the principal name)", a.Principal)
	}
	return nil
}

// DeleteACLs removes the entries that any of the filters matches; each filter is answered with all that it matches.
func (m *Machine) DeleteACLs(req *kmsg.DeleteAclsRequest) ([]kmsg.Record, *kmsg.DeleteAclsResponse) {
	resp := kmsg.NewDeleteAclsResponse()
	all := SortedACLs(m.image())
	gone := map[*meta.ACL]bool{}
	var records []kmsg.Record
	for i := range req.Filters {
		result := kmsg.NewDeleteAclsResponseDeleteAclsFilterResult()
		result.ErrorMessage = nil
		f, err := ACLFilter(&req.Filters[i])
		if err != nil {
			result.ErrorCode, result.ErrorMessage = Code(err)
			resp.FilterResults = append(resp.FilterResults, result)
			continue
		}
		for _, a := range all {
			if !f.Matches(a) {
				continue
			}
			if !gone[a] {
				gone[a] = true
				records = append(records, &kmsg.RemoveAccessControlEntryRecord{Id: a.ID})
			}
			match := kmsg.NewDeleteAclsResponseDeleteAclsMatchingAcl()
			match.ErrorMessage = nil
			match.ResourceType, match.ResourceName, match.PatternType = int8(a.ResourceType), a.ResourceName, int8(a.PatternType)
			match.Principal, match.Host = a.Principal, a.Host
			match.Operation, match.PermissionType = int8(a.Operation), int8(a.PermissionType)
			result.MatchingAcls = append(result.MatchingAcls, match)
		}
		resp.FilterResults = append(resp.FilterResults, result)
	}
	if len(records) > MaxRecordsPerOp {
		code, text := Code(refuse(kerr.InvalidRequest, "Cannot remove more than %d acls in a single delete operation.", MaxRecordsPerOp))
		for i := range resp.FilterResults {
			r := &resp.FilterResults[i]
			r.ErrorCode, r.ErrorMessage, r.MatchingAcls = code, text, nil
		}
		return nil, &resp
	}
	return records, &resp
}

// ACLFilter is the filter of a request.
func ACLFilter(f *kmsg.DeleteAclsRequestDeleteAclsFilter) (*meta.ACLFilter, error) {
	out := &meta.ACLFilter{
		ResourceType: meta.ACLResource(f.ResourceTypeFilter), ResourceName: f.ResourceNameFilter,
		PatternType: meta.ACLPattern(f.PatternTypeFilter), Principal: f.PrincipalFilter, Host: f.HostFilter,
		Operation: meta.ACLOperation(f.Operation), PermissionType: meta.ACLPermission(f.PermissionType),
	}
	switch {
	case !out.ResourceType.Known() || !out.PatternType.Known():
		return nil, refuse(kerr.InvalidRequest, "Unknown patternFilter.")
	case !out.Operation.Known() || !out.PermissionType.Known():
		return nil, refuse(kerr.InvalidRequest, "Unknown entryFilter.")
	}
	return out, nil
}

// SortedACLs are the entries of an image, in one order: by resource, then by whom they concern.
func SortedACLs(im *meta.Image) []*meta.ACL {
	return slices.SortedFunc(im.ACLs(), func(a, b *meta.ACL) int {
		return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName),
			cmp.Compare(a.PatternType, b.PatternType), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.PermissionType, b.PermissionType), strings.Compare(a.ID.String(), b.ID.String()))
	})
}

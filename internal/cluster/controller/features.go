package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// incompatibleLevels are the metadata versions that changed records, so that a cluster cannot go
// back from them to one before.
var incompatibleLevels = []int16{8, 11, 13, 14, 15, 17, 23, 30}

// The upgrade types of UpdateFeatures.
const (
	upgradeOnly     int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// UpdateFeatures changes the finalized levels of features: all that are named, or none.
func (m *Machine) UpdateFeatures(
	version int16, req *kmsg.UpdateFeaturesRequest,
) ([]kmsg.Record, *kmsg.UpdateFeaturesResponse) {
	resp := kmsg.NewUpdateFeaturesResponse()
	resp.ErrorMessage = nil
	var records []kmsg.Record
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		record, err := m.updateFeature(version, u)
		if err != nil {
			code, msg := Code(err)
			text := "The update failed for all features since the following feature had an error: " + *msg
			resp.ErrorCode, resp.ErrorMessage = code, &text
			return nil, &resp
		}
		if record != nil {
			records = append(records, record)
		}
	}
	if version <= 1 {
		for i := range req.FeatureUpdates {
			resp.Results = append(resp.Results,
				kmsg.UpdateFeaturesResponseUpdatableFeatureResult{Feature: req.FeatureUpdates[i].Feature})
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return records, &resp
}

func (m *Machine) updateFeature(version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdateKey) (kmsg.Record, error) {
	invalid := func(format string, args ...any) error {
		why := refuse(kerr.InvalidUpdateVersion, format, args...).(*Error).Msg
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s",
			u.MaxVersionLevel, u.Feature, why)
	}
	kind := u.UpgradeType
	if version == 0 {
		kind = upgradeOnly
		if u.AllowDowngrade {
			kind = safeDowngrade
		}
	}
	features := Features()
	i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == u.Feature })
	now, next := m.image().Feature(u.Feature), u.MaxVersionLevel
	if u.Feature == KRaftVersion && m.cfg.KRaftVersion != nil {
		now = m.cfg.KRaftVersion()
	}
	switch {
	case kind < upgradeOnly || kind > unsafeDowngrade:
		return nil, invalid("The controller does not support the given upgrade type.")
	case next < 0:
		return nil, invalid("A feature version cannot be less than 0.")
	case i < 0:
		return nil, invalid("Local controller %d does not support this feature.", m.cfg.NodeID)
	case next < features[i].Min || next > features[i].Max:
		return nil, invalid("Local controller %d only supports versions %d-%d",
			m.cfg.NodeID, features[i].Min, features[i].Max)
	case next < now && kind == upgradeOnly:
		return nil, invalid("Can't downgrade the version of this feature without setting the upgrade type to either " +
			"safe or unsafe downgrade.")
	case next > now && kind != upgradeOnly:
		return nil, invalid("Can't downgrade to a newer version.")
	case u.Feature == KRaftVersion && next < now:
		return nil, invalid("The voters of this cluster can change, and that stays.")
	case u.Feature == KRaftVersion && next > now:
		return nil, invalid("The voters of this cluster are static, as its version 0 has them.")
	case u.Feature == KRaftVersion:
		return nil, nil
	case u.Feature == MetadataVersion && next < now:
		if slices.ContainsFunc(incompatibleLevels, func(l int16) bool { return l > next && l <= now }) {
			return nil, refuse(kerr.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. Refusing to "+
				"perform the requested downgrade because it might delete metadata information.", now, next)
		}
	}
	return &kmsg.FeatureLevelRecord{Name: u.Feature, FeatureLevel: next}, nil
}

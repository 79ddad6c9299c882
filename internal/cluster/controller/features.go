package controller

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
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
	wanted := m.wanted(req)
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		more, err := m.updateFeature(version, u, wanted)
		if err != nil {
			code, msg := Code(err)
			text := "The update failed for all features since the following feature had an error: " + *msg
			resp.ErrorCode, resp.ErrorMessage = code, &text
			return nil, &resp
		}
		records = append(records, more...)
	}
	if wanted[elrVersion] > 0 && slices.ContainsFunc(req.FeatureUpdates, func(u kmsg.UpdateFeaturesRequestFeatureUpdateKey) bool {
		return u.Feature == elrVersion
	}) {
		records = append(m.settleMinISR(), records...)
	}
	if m.upgradesVoters(req) && !req.ValidateOnly {
		if err := m.cfg.UpgradeVoters(false); err != nil {
			resp.ErrorCode, resp.ErrorMessage = Code(err)
			return nil, &resp
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

// upgradesVoters says whether a request raises kraft.version.
func (m *Machine) upgradesVoters(req *kmsg.UpdateFeaturesRequest) bool {
	return m.cfg.KRaftVersion != nil && m.cfg.KRaftVersion() == 0 &&
		slices.ContainsFunc(req.FeatureUpdates, func(u kmsg.UpdateFeaturesRequestFeatureUpdateKey) bool {
			return u.Feature == KRaftVersion && u.MaxVersionLevel > 0
		})
}

// wanted are the levels that a request leads to.
func (m *Machine) wanted(req *kmsg.UpdateFeaturesRequest) map[string]int16 {
	levels := maps.Clone(m.image().Features())
	for i := range req.FeatureUpdates {
		levels[req.FeatureUpdates[i].Feature] = req.FeatureUpdates[i].MaxVersionLevel
	}
	return levels
}

func (m *Machine) updateFeature(
	version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdateKey, wanted map[string]int16,
) ([]kmsg.Record, error) {
	invalid := func(format string, args ...any) error {
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s",
			u.MaxVersionLevel, u.Feature, fmt.Sprintf(format, args...))
	}
	kind := u.UpgradeType
	if version == 0 {
		kind = upgradeOnly
		if u.AllowDowngrade {
			kind = safeDowngrade
		}
	}
	f, known := featureOf(u.Feature)
	now, next := m.image().Feature(u.Feature), u.MaxVersionLevel
	if u.Feature == KRaftVersion && m.cfg.KRaftVersion != nil {
		now = m.cfg.KRaftVersion()
	}
	switch {
	case kind < upgradeOnly || kind > unsafeDowngrade:
		return nil, invalid("The controller does not support the given upgrade type.")
	case next < 0:
		return nil, invalid("A feature version cannot be less than 0.")
	case !known:
		return nil, invalid("Local controller %d does not support this feature.", m.cfg.NodeID)
	case next < f.Min || next > f.Max:
		return nil, invalid("Local controller %d only supports versions %d-%d", m.cfg.NodeID, f.Min, f.Max)
	}
	if why := m.unsupported(u.Feature, now, next); why != "" {
		return nil, invalid("%s", why)
	}
	switch {
	case next < now && kind == upgradeOnly:
		return nil, invalid("Can't downgrade the version of this feature without setting the upgrade type to either " +
			"safe or unsafe downgrade.")
	case next > now && kind != upgradeOnly:
		return nil, invalid("Can't downgrade to a newer version.")
	case u.Feature == KRaftVersion && next < now:
		return nil, invalid("Can't downgrade the version of this feature.")
	case u.Feature == KRaftVersion && next > now && m.cfg.UpgradeVoters == nil:
		return nil, invalid("Local controller %d has no quorum.", m.cfg.NodeID)
	case u.Feature == KRaftVersion && next > now:
		if err := m.cfg.UpgradeVoters(true); err != nil {
			return nil, invalid("%s", err)
		}
		return nil, nil
	case u.Feature == KRaftVersion:
		return nil, nil
	case u.Feature == MetadataVersion:
		return m.updateMetadataVersion(now, next)
	}
	if err := f.check(next, wanted[MetadataVersion]); err != nil {
		return nil, invalid("%s", err)
	}
	return []kmsg.Record{&kmsg.FeatureLevelRecord{Name: u.Feature, FeatureLevel: next}}, nil
}

// unsupported says which broker or controller could not work at the next level; empty for none. A controller that has not
// registered may be of a build that does not; to go down is allowed with such, for a rolling upgrade must have a way back
// (Apache Kafka refuses that too). Those that are none of the voters any more are not asked for: nothing removes them.
func (m *Machine) unsupported(feature string, now, next int16) string {
	for _, b := range m.image().Brokers() {
		if why := outside(next, rangeOf(b.Features, feature)); why != "" {
			return fmt.Sprintf("Broker %d %s", b.ID, why)
		}
	}
	if m.cfg.Voters == nil || !KnowsControllers(m.image()) {
		return ""
	}
	for _, id := range m.cfg.Voters() {
		c := m.image().Controller(id)
		switch {
		case id == m.cfg.NodeID: // whose own range was looked at
		case c == nil && next > now:
			return fmt.Sprintf("controller %d has not registered, and may not support this feature", id)
		case c == nil:
		default:
			if why := outside(next, rangeOf(c.Features, feature)); why != "" {
				return fmt.Sprintf("Controller %d %s", id, why)
			}
		}
	}
	return ""
}

func rangeOf(features []meta.FeatureRange, name string) meta.FeatureRange {
	for _, f := range features {
		if f.Name == name {
			return f
		}
	}
	return meta.FeatureRange{Name: name} // only 0, which is to be without it
}

func featureRange(f Feature) meta.FeatureRange {
	return meta.FeatureRange{Name: f.Name, Min: f.Min, Max: f.Max}
}

func outside(level int16, f meta.FeatureRange) string {
	switch {
	case level >= f.Min && level <= f.Max:
		return ""
	case f.Max == 0:
		return "does not support this feature."
	}
	return fmt.Sprintf("only supports versions %d-%d", f.Min, f.Max)
}

func (m *Machine) updateMetadataVersion(now, next int16) ([]kmsg.Record, error) {
	if next < now && slices.ContainsFunc(incompatibleLevels, func(l int16) bool { return l > next && l <= now }) {
		return nil, refuse(kerr.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. Refusing to "+
			"perform the requested downgrade because it might delete metadata information.", now, next)
	}
	records := []kmsg.Record{&kmsg.FeatureLevelRecord{Name: MetadataVersion, FeatureLevel: next}}
	if r := m.ownDirectories(now, next); r != nil {
		records = append(records, r)
	}
	return records, nil
}

// ownDirectories enters what a broker without an uplink could not say of itself at an older level; the others register
// anew when they see the level.
func (m *Machine) ownDirectories(now, next int16) kmsg.Record {
	b := m.image().Broker(m.cfg.NodeID)
	if m.cfg.Own == nil || b == nil {
		return nil
	}
	r := registrationChange(b)
	if now < levelDirectories && next >= levelDirectories {
		r.LogDirs = m.cfg.Own.LogDirs
	}
	if now < levelCordoned && next >= levelCordoned {
		r.CordonedLogDirs = append([]base.TopicID{}, m.cfg.Own.Cordoned...)
	}
	if r.LogDirs == nil && r.CordonedLogDirs == nil {
		return nil
	}
	return r
}

// Unsaid says that a broker's registration is of a level that knew no directories, and the one in force knows them: it
// is to register anew.
func Unsaid(im *meta.Image, id int32) bool {
	b := im.Broker(id)
	return b != nil && len(b.LogDirs) == 0 && KnowsDirectories(im)
}

// KnowsDirectories says whether the metadata tells which replica is in which log directory.
func KnowsDirectories(im *meta.Image) bool { return im.Feature(MetadataVersion) >= levelDirectories }

package stormsight.cli;

import picocli.CommandLine.Option;
import stormsight.report.ColorMap;
import stormsight.report.MapStyle;

/** Options that say how maps are coloured. */
final class MapStyleMixin {
    @Option(names = "--colormap", paramLabel = "NAME", defaultValue = "viridis",
            description = "Colours of the maps: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private ColorMap colors;

    @Option(
            names = "--patches",
            description = "Give each patch one colour instead of blending the colours of neighbouring patches.")
    private boolean patches;

    MapStyle style() {
        return new MapStyle(colors, !patches);
    }
}

/** The section of one version, made of fragments by file name. Throws with every malformed fragment. */
export function sectionOf(title: string, fragments: Readonly<Record<string, string>>): string;
/** The changelog with its unreleased part replaced; with `release` the section becomes fixed below an empty part. */
export function placeIn(changelog: string, section: string, release: boolean): string;

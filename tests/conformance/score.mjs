// What a run of the suite is worth. Pure: tests and results in, figures and a verdict out.

const AGE = 'RFC 9111 5.1: an invalid Age is ignored, of several the first counts'
const SELECTS = 'RFC 9111 4.3.4: a 304 with another tag does not speak of what is stored'
const CLOSED = 'the origin closes without an answer, so no proxy can show the header that the test wants from it'

/**
 * The suite as we know it, by how many tests of each kind it has for a shared cache. Of the required ones all must pass
 * but the `exempt`, of the others `least`. A suite with other totals is another suite: these figures say nothing about it.
 */
const KNOWN = [
  {
    name: 'http-cache-tests 0.4.5 of the npm registry',
    total: { required: 157, optimal: 86, check: 86 },
    least: { optimal: 77, check: 52 },
    exempt: {
      'age-parse-nonnumeric': AGE,
      'age-parse-negative': AGE,
      'age-parse-float': AGE,
      'age-parse-prefix-twoline': AGE,
      'age-parse-dup-0': AGE,
      'age-parse-dup-0-twoline': AGE,
      'age-parse-dup-old': AGE,
      'age-parse-parameter': AGE,
      'age-parse-numeric-parameter': AGE,
      '304-etag-update-response-ETag': SELECTS,
      'stale-close-must-revalidate': CLOSED,
      'stale-close-proxy-revalidate': CLOSED,
      'stale-close-no-cache': CLOSED,
      'stale-close-s-maxage=2': CLOSED
    }
  },
  {
    name: 'http-cache-tests of its repository',
    total: { required: 160, optimal: 105, check: 100 },
    least: { optimal: 90, check: 65 },
    exempt: {}
  }
]

export const KINDS = ['required', 'optimal', 'check']

/**
 * Counts `results` (the suite's JSON: id to true or [name, message]) over `groups` (the suite's tests).
 *
 * passed: as expected. failed: not. skipped: says nothing, because the test's own set-up or one it depends on failed;
 * this is how the suite's page shows them. missing: the run has no result. Only `passed` counts as passed.
 */
export function score (groups, results) {
  const kinds = Object.fromEntries(KINDS.map(kind => [kind, { total: 0, passed: 0, failed: 0, skipped: 0, missing: 0 }]))
  const notPassed = []
  const passed = new Set()
  const ids = new Set()
  for (const test of groups.flatMap(group => group.tests)) {
    if (test.browser_only) continue
    const kind = test.kind || 'required'
    const state = stateOf(test, results)
    ids.add(test.id)
    kinds[kind].total++
    kinds[kind][state]++
    if (state === 'passed') passed.add(test.id)
    else notPassed.push({ id: test.id, kind, state, message: messageOf(test, results) })
  }
  return { kinds, notPassed, passed, ids }
}

function stateOf (test, results) {
  const result = results[test.id]
  if (result === undefined) return 'missing'
  if (result === true) return 'passed'
  if (failedDependencies(test, results).length > 0 || ['Setup', 'AbortError'].includes(result[0])) return 'skipped'
  return 'failed'
}

function failedDependencies (test, results) {
  return (test.depends_on || []).filter(id => results[id] !== true)
}

function messageOf (test, results) {
  const result = results[test.id]
  if (result === undefined) return 'no result'
  const failed = failedDependencies(test, results)
  return `${result[0]}: ${result[1]}${failed.length > 0 ? ` (depends on ${failed.join(', ')})` : ''}`
}

/** The suite these totals belong to, or undefined. */
export function knownSuite (kinds) {
  return KNOWN.find(suite => KINDS.every(kind => suite.total[kind] === kinds[kind].total))
}

/** Ids in the first cell of a table of the document: rows that begin with a name in backticks. */
export function onPurpose (document) {
  return new Set(Array.from(document.matchAll(/^\| `([^`]+)` \|/gm), match => match[1]))
}

/** Why the run is not good enough, a line each; none when it is. `named`: the ids not passed on purpose. */
export function complaints ({ kinds, notPassed, ids }, named) {
  const suite = knownSuite(kinds)
  if (!suite) {
    const totals = KINDS.map(kind => `${kinds[kind].total} ${kind}`).join(', ')
    return [`the suite has ${totals} tests, which is none that score.mjs knows: has it changed?`]
  }
  const found = []
  const required = notPassed.filter(test => test.kind === 'required')
  const failed = required.filter(test => !(test.id in suite.exempt))
  if (failed.length > 0) found.push(`required: ${failed.length} not passed that must be: ${failed.map(test => test.id).join(', ')}`)
  for (const [kind, least] of Object.entries(suite.least)) {
    const { passed } = kinds[kind]
    if (passed < least) found.push(`${kind}: ${passed} passed, expected ${least} or more`)
  }
  for (const { id } of required.filter(test => test.id in suite.exempt && !named.has(test.id))) {
    found.push(`docs/conformance.md does not name ${id}, which is required and not passed on purpose`)
  }
  for (const { id } of failed.filter(test => named.has(test.id))) {
    found.push(`docs/conformance.md names ${id} as not passed on purpose, but it is required`)
  }
  for (const id of named) {
    if (!ids.has(id) && suite === KNOWN[0]) found.push(`docs/conformance.md names ${id}, which the suite does not have`)
  }
  return found
}

/** How many tests of a kind must pass. */
export function least (suite, kind) {
  return suite.least[kind] ?? suite.total[kind] - Object.keys(suite.exempt).length
}

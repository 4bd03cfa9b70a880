import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { idealElapsedMs } from '../../harness/ideal.ts';
import { inMode, runSideBySide, serviceTimesMs } from '../../harness/limited-run.ts';
import { atMost, exactly, type Part } from '../../harness/suite.ts';
import { percentOverIdeal, planFor, SETTINGS } from './settings.ts';

const SYMBOLS = 100;
const IDEAL_GOAL_PERCENT = 2;
/** For 100 symbols at 20/s. */
const FAST = { setting: 'exact 20/s', goalS: 4.25 };

/** The batch that the model is known by. */
export const symbols: Part = {
  name: 'symbols',
  title: `${SYMBOLS} symbols at the conservative preset, 18/s and 20/s`,
  isMostlyIdle: true,
  async run(mode) {
    const watch = watchMachine();
    const results = await runSideBySide(
      inMode(
        SETTINGS.map((setting) => planFor(setting, SYMBOLS)),
        mode,
      ),
    );
    const cases = SETTINGS.flatMap((setting, place) => {
      const result = results[place];
      return result === undefined ? [] : [{ setting, result }];
    });
    return {
      tables: [
        {
          title: `${SYMBOLS} symbols, 5-30 ms service time, threads and connections there`,
          rows: cases.map(({ setting, result }) => ({
            run: setting.name,
            succeeded: result.summary.succeeded,
            refused: result.server.refused,
            'most in any 1 s': result.server.maxInWindow,
            'elapsed s': result.elapsedMs / 1e3,
            'ideal s': idealElapsedMs(setting.ideal, serviceTimesMs(result.arrivals)) / 1e3,
            'over ideal %': percentOverIdeal(setting, result),
          })),
          notes: ['the Python model needs 8.30 s at its 12/s', describeDisturbance(watch())],
        },
      ],
      targets: cases.flatMap(({ setting, result }) => [
        exactly(`symbols, ${setting.name}: refused`, result.server.refused + result.refusedEver, 0, 'requests'),
        exactly(`symbols, ${setting.name}: succeeded`, result.summary.succeeded, result.plan.items, 'items'),
        atMost(`symbols, ${setting.name}: over the ideal`, percentOverIdeal(setting, result), IDEAL_GOAL_PERCENT, '%'),
        ...(setting.name === FAST.setting
          ? [atMost(`symbols, ${setting.name}: elapsed`, result.elapsedMs / 1e3, FAST.goalS, 's')]
          : []),
      ]),
    };
  },
};

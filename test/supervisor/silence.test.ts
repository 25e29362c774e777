import t from 'tap';
import { Silence } from '../../src/supervisor/silence.ts';

t.test(
  'a file that answers late again and again is warned of once, and once more after a minute of answers',
  async t => {
    const path = '/away/knockd-nft.json';
    let since: number | undefined;
    const told: string[] = [];
    let answered = 0;
    const silence = new Silence(
      { silent: () => (since === undefined ? undefined : { path, since }) },
      text => told.push(text),
      () => answered++,
    );
    let now = 0;
    const seconds = (count: number, isSilent: boolean) => {
      since = isSilent ? now : undefined;
      for (let left = count; left > 0; left--) {
        now += 1000;
        silence.look(now);
      }
    };
    for (let time = 0; time < 100; time++) {
      seconds(2, true);
      seconds(1, false);
    }
    t.match(told, [/its file system does not answer/]);
    t.equal(answered, 100, 'but what waits for its answers hears of each');
    seconds(120, true);
    seconds(70, false);
    t.equal(told.length, 1, 'it is the same silence');
    seconds(3, true);
    t.equal(told.length, 2);
  },
);

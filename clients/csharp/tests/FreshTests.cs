using System;
using System.Collections.Generic;
using Kinestream;

/// <summary>Messages that grow old, and senders that begin anew.</summary>
internal static class FreshTests
{
    internal static void Run()
    {
        GrowingOld();
        SentAgain();
        Streams();
        Flags();
        Console.WriteLine("fresh: commands that grow old, senders that begin anew");
    }

    private static Kinestream.Action Command(ulong sequence, ulong monotonicNs, uint stream = 7, ulong wallNs = 0)
    {
        return new Kinestream.Action
        {
            Stamp = new Stamp { Sequence = sequence, MonotonicNs = monotonicNs, WallNs = wallNs, Stream = stream },
            Values = new float[] { 1f },
        };
    }

    private static void GrowingOld()
    {
        double seconds = 0.0;
        Newest<Kinestream.Action> commands = new Newest<Kinestream.Action>("command", () => TimeSpan.FromSeconds(seconds));
        Check.That(commands.Get() == null && !commands.IsStale, "none before the first");
        Check.That(commands.Put(Command(1, 10)), "the first is news");
        seconds = 0.5;
        Check.Equal(1UL, commands.Get().Stamp.Sequence, "a command of half a second");
        seconds = 0.74;
        string said = Check.Throws<StaleException>(() => commands.Get(), "an old command");
        Check.Equal("the newest command is 0.74 s old, allowed are 0.5 s: is its sender still up?", said, "the problem");
        Check.That(commands.IsStale && commands.Last.Stamp.Sequence == 1, "it is there for whoever wants it");
        commands.Put(Command(2, 20));
        Check.Equal(2UL, commands.Get().Stamp.Sequence, "the next one ends it");
        commands.StaleAfter = TimeSpan.MaxValue;
        seconds = 1e6;
        Check.Equal(2UL, commands.Get().Stamp.Sequence, "any age");
        Check.Throws<ArgumentOutOfRangeException>(() => { commands.StaleAfter = TimeSpan.Zero; }, "no time at all");
    }

    private static void SentAgain()
    {
        double seconds = 0.0;
        Newest<Kinestream.Action> commands = new Newest<Kinestream.Action>("command", () => TimeSpan.FromSeconds(seconds));
        commands.Put(Command(5, 50));
        seconds = 0.6;
        Check.That(!commands.Put(Command(5, 50)) && !commands.Put(Command(4, 40)), "no sign of life");
        Check.Throws<StaleException>(() => commands.Get(), "an old command");
        Check.That(commands.Put(Command(1, 60)), "a sender that begins anew");
        Check.That(commands.Put(Command(1, 1, 8)), "another stream");
        Check.That(!commands.Put(Command(1, 0, 8)) && commands.Put(Command(1, 0, 8, 1)), "a machine that begins anew");
        commands.Restart();
        Check.That(commands.Put(Command(1, 0, 8)), "another way");
    }

    private static void Streams()
    {
        HashSet<uint> streams = new HashSet<uint>();
        for (int i = 0; i < 100; i++)
        {
            streams.Add(new Numbering().Stream);
        }
        Check.That(streams.Count == 100 && !streams.Contains(0), "streams of their own");
        Numbering numbering = new Numbering(uint.MaxValue);
        Check.Equal(1UL, numbering.Next(5).Sequence, "numbers begin at 1");
        numbering.Begin();
        Stamp stamp = numbering.Next(6, 9);
        Check.That(stamp.Sequence == 2 && stamp.MonotonicNs == 6 && stamp.WallNs == 9 && stamp.Stream == 1, "the next stream");
        Check.Throws<ArgumentOutOfRangeException>(() => new Numbering(0), "no stream");
    }

    private static void Flags()
    {
        Kinestream.Action command = Command(1, 1);
        Check.That(!command.IsLimited && !command.IsHolding && !command.IsStopping, "a command that moves");
        command.Flags = 6;
        Check.That(!command.IsLimited && command.IsHolding && command.IsStopping, "a stop");
    }
}

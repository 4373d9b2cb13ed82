using System;
using System.Collections.Generic;

/// <summary>Assertions, and a name for what failed.</summary>
internal static class Check
{
    internal static void That(bool isTrue, string what)
    {
        if (!isTrue)
        {
            throw new InvalidOperationException("not so: " + what);
        }
    }

    internal static void Equal<T>(T expected, T found, string what)
    {
        That(EqualityComparer<T>.Default.Equals(expected, found), what + ": expected " + expected + ", found " + found);
    }

    /// <summary>Runs something that throws this exception and no other; returns its message.</summary>
    internal static string Throws<T>(System.Action action, string what)
        where T : Exception
    {
        try
        {
            action();
        }
        catch (T error)
        {
            return error.Message;
        }
        throw new InvalidOperationException("nothing was thrown: " + what);
    }
}
